//! Moments as people and programs write them: RFC 3339 in UTC, or how long ago. Pure; reads no
//! clock.

use std::time::Duration;

/// Milliseconds since the beginning of 1970, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

const DAY_SECONDS: u64 = 86_400;

/// Days of 400 years, after which the calendar repeats itself.
const ERA_DAYS: u64 = 146_097;

/// Days from the first of March of the year 0, where years begin here, to the beginning of 1970.
const TO_1970: u64 = 719_468;

impl Moment {
    /// So much earlier, or the beginning of time.
    #[must_use]
    pub fn before(self, duration: Duration) -> Moment {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_sub(millis))
    }

    /// As RFC 3339 writes it: `2026-11-29T15:04:05.250Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = date(seconds / DAY_SECONDS);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    /// What somebody wrote: RFC 3339 with any offset, a time of the day of `now` in UTC
    /// (`15:04:05`), or how long ago (`90s`, `5m`, `2h`).
    ///
    /// # Errors
    /// It is none of these; the text says what is.
    pub fn parse(text: &str, now: Moment) -> Result<Moment, &'static str> {
        const FORMS: &str = "write a time such as 2026-11-29T15:04:05Z, 15:04:05 (today, in UTC), \
                             or how long ago: 90s, 5m, 2h";
        ago(text, now)
            .or_else(|| {
                let today = now.0 / 1000 / DAY_SECONDS * DAY_SECONDS;
                Some(Moment(today * 1000 + clock(text)?))
            })
            .or_else(|| stamp(text))
            .ok_or(FORMS)
    }
}

/// Year, month and day of a day that is counted from 1970 on.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + TO_1970;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March is month 0: the day that some years have more is the last one of all.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The day of a date, counted from 1970 on.
fn days((year, month, day): (u64, u64, u64)) -> Option<u64> {
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day) && year >= 1970;
    let year_from_march = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = (era * ERA_DAYS + of_era).checked_sub(TO_1970)?;
    // February has no 30th day.
    (is_date && date(days) == (year, month, day)).then_some(days)
}

fn ago(text: &str, now: Moment) -> Option<Moment> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY_SECONDS,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    Some(now.before(Duration::from_secs(seconds)))
}

/// Milliseconds of a time of day: `15:04`, `15:04:05`, `15:04:05.250`.
fn clock(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':').map(|part| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| is_plain)
    });
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok().filter(|_| is_fraction)?;
    Some((hour * 3600 + minute * 60 + second) * 1000 + millis)
}

fn stamp(text: &str) -> Option<Moment> {
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = day.split('-').map(|part| part.parse::<u64>().ok());
    let date = (parts.next()??, parts.next()??, parts.next()??);
    let days = days(date).filter(|_| parts.next().is_none())?;
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at_checked(at)?;
    let local = days.checked_mul(DAY_SECONDS * 1000)? + clock(time)?;
    let (sign, offset) = zone.split_at_checked(1)?;
    let utc = match sign {
        "+" => local.checked_sub(clock(offset)?)?,
        "-" => local + clock(offset)?,
        _ if offset.is_empty() => local,
        _ => return None,
    };
    Some(Moment(utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_again() {
        // From date(1).
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_964_645_250, "2026-11-29T15:04:05.250Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in table {
            assert_eq!(Moment(millis).rfc3339(), text);
            assert_eq!(Moment::parse(text, Moment(0)), Ok(Moment(millis)), "{text}");
        }
        for day in 0..80_000 {
            assert_eq!(days(date(day)), Some(day));
        }
    }

    #[test]
    fn people_write_times_of_today_and_how_long_ago() {
        let now = Moment(1_795_964_645_250);
        let at = |text| Moment::parse(text, now).map(Moment::rfc3339);
        let is = |text: &str| Ok(format!("2026-11-29T{text}Z"));
        assert_eq!(at("5m"), is("14:59:05.250"));
        assert_eq!(at("90s"), is("15:02:35.250"));
        assert_eq!(at("09:30"), is("09:30:00.000"));
        assert_eq!(at("09:30:15.5"), is("09:30:15.500"));
        assert_eq!(at("2026-11-29T16:04:05+01:00"), is("15:04:05.000"));
        assert_eq!(at("2026-11-29 10:04:05-05:00"), is("15:04:05.000"));
        for bad in ["", "now", "5", "5 m", "25:00", "9:30", "2026-02-30T00:00:00Z", "2026-11-29"] {
            assert!(at(bad).is_err(), "{bad}");
        }
        for bad in ["2026-11-29T15:04:05", "2026-11-29T15:04:05Zx", "1969-12-31T23:59:59Z", "99-"] {
            assert!(at(bad).is_err(), "{bad}");
        }
        assert!(Moment::parse("99999999999999999999h", now).is_err());
    }
}
