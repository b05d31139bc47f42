//! Near misses: the name that somebody probably meant.

/// The candidate nearest to `word`, if it is near enough to be a slip of the hand.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // Long words would take quadratic time, and no name is that long.
    let word = word.chars().take(100).collect::<String>().to_lowercase();
    let far = 1 + word.chars().count() / 4;
    let distance = |candidate: &&str| strsim::osa_distance(&word, &candidate.to_lowercase());
    let scored = candidates.map(|candidate| (distance(&candidate), candidate));
    let near = scored.filter(|&(distance, _)| distance <= far);
    near.min_by_key(|&(distance, _)| distance).map(|(_, candidate)| candidate)
}

/// A cure for an unknown word: the nearest candidate, or all of them if they are few.
#[must_use]
pub fn cure<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> String {
    const FEW: usize = 12;
    if let Some(near) = nearest(word, candidates.clone()) {
        return format!("did you mean \"{near}\"?");
    }
    let mut names: Vec<String> =
        candidates.clone().take(FEW).map(|name| format!("\"{name}\"")).collect();
    if candidates.count() > FEW {
        names.push("...".to_owned());
    }
    if names.is_empty() {
        return "there is none yet".to_owned();
    }
    format!("there is {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["web", "database", "pe-consumer-a"];
        let near = |word| nearest(word, names.into_iter());
        assert_eq!(near("wbe"), Some("web"));
        assert_eq!(near("databse"), Some("database"));
        assert_eq!(near("PE-consumer-A"), Some("pe-consumer-a"));
        assert_eq!(near("queue"), None);
        assert_eq!(near(""), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), names.into_iter()), None);
    }

    #[test]
    fn a_cure_names_the_nearest_or_lists_a_few() {
        assert_eq!(cure("wbe", ["web"].into_iter()), "did you mean \"web\"?");
        assert_eq!(cure("x", ["web", "dba"].into_iter()), "there is \"web\", \"dba\"");
        assert_eq!(cure("x", [].into_iter()), "there is none yet");
    }
}
