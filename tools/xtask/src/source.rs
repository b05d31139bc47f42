//! One Rust file as the rules see it: tokens, lines, modules, functions, and what is test code.
//!
//! Everything here is a pure function of the text. Test code is an item under `#[cfg(test)]`, a
//! file under `#![cfg(test)]`, and a file whose `mod` line is test code (see `tidy::reach`).

use std::ops::Range;

use crate::lexer;

/// A file, its masked forms (same offsets), and its tokens.
pub(crate) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(crate) path: String,
    /// The text as written.
    pub(crate) text: String,
    /// The text without comments.
    pub(crate) bare: String,
    /// The text without comments and literals.
    pub(crate) code: String,
    tokens: Vec<Range<usize>>,
    line_starts: Vec<usize>,
    code_lines: Vec<bool>,
    test_spans: Vec<Range<usize>>,
    all_test: bool,
}

/// A `mod name;` or `mod name { … }`.
pub(crate) struct Module {
    /// Its name.
    pub(crate) name: String,
    /// The modules of this file around it.
    pub(crate) within: Vec<String>,
    /// The value of its `#[path = "…"]`.
    pub(crate) path: Option<String>,
    /// The offsets of its body, if it has one here.
    pub(crate) body: Option<Range<usize>>,
    /// Whether it is test code.
    pub(crate) test: bool,
}

/// A function with a body.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`.
    pub(crate) line: usize,
    /// Lines with code, from `fn` to the closing brace.
    pub(crate) code_lines: usize,
}

impl Source {
    /// Reads a text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let masked = lexer::mask(text);
        let tokens = lexer::tokens(&masked.code);
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let code_lines = masked.code.split('\n').map(|line| !line.trim().is_empty()).collect();
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            bare: masked.bare,
            code: masked.code,
            tokens,
            line_starts,
            code_lines,
            test_spans: Vec::new(),
            all_test: false,
        };
        source.find_tests();
        source
    }

    /// Declares the whole file test code.
    pub(crate) fn set_test(&mut self) {
        self.all_test = true;
    }

    /// The line of an offset, from 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// Whether an offset lies in test code.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.all_test || self.test_spans.iter().any(|span| span.contains(&at))
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_all_test(&self) -> bool {
        self.all_test
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token of an index; empty past the end.
    pub(crate) fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |range| &self.code[range.clone()])
    }

    /// The offset of a token; the end of the text past the end.
    pub(crate) fn offset(&self, index: usize) -> usize {
        self.tokens.get(index).map_or(self.text.len(), |range| range.start)
    }

    /// What a literal token holds, as written between its quotes.
    pub(crate) fn literal(&self, index: usize) -> Option<&str> {
        let range = self.tokens.get(index)?.clone();
        if !self.code[range.clone()].starts_with('"') {
            return None;
        }
        let text = &self.text[range];
        let open = text.find('"')?;
        let close = text.rfind('"')?;
        text.get(open + 1..close)
    }

    /// The indices at which a sequence of tokens starts.
    pub(crate) fn find(&self, sequence: &[&str]) -> Vec<usize> {
        let matches = |start: usize| {
            sequence.iter().enumerate().all(|(step, word)| self.token(start + step) == *word)
        };
        (0..self.len()).filter(|&start| matches(start)).collect()
    }

    /// The index of the bracket that closes the one at `open`; the last token if none does.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for index in open..self.len() {
            match self.token(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return index;
            }
        }
        self.len().saturating_sub(1)
    }

    /// Lines of code outside tests.
    pub(crate) fn count_code_lines(&self) -> usize {
        if self.all_test {
            return 0;
        }
        let in_test = |line: usize| {
            self.test_spans
                .iter()
                .any(|span| (self.line_of(span.start)..=self.line_of(span.end - 1)).contains(&line))
        };
        let code = self.code_lines.iter().enumerate().filter(|(_, code)| **code);
        code.filter(|(line, _)| !in_test(line + 1)).count()
    }

    /// Every function with a body, outside tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for index in self.find(&["fn"]) {
            let named = if self.token(index + 1) == "$" { index + 2 } else { index + 1 };
            let name = self.token(named);
            if !is_name(name) || self.is_test(self.offset(index)) {
                continue;
            }
            let Some(open) = self.body_of(named) else {
                continue;
            };
            let first = self.line_of(self.offset(index));
            let last = self.line_of(self.offset(self.closing(open)));
            let code_lines = (first..=last).filter(|line| self.code_lines[line - 1]).count();
            functions.push(Function { name: name.to_owned(), line: first, code_lines });
        }
        functions
    }

    /// The brace that opens the body of the item at `index`; none if a `;` ends it first.
    fn body_of(&self, index: usize) -> Option<usize> {
        let mut at = index;
        while at < self.len() {
            match self.token(at) {
                "(" | "[" => at = self.closing(at),
                "{" => return Some(at),
                ";" | "}" => return None,
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Every module declared or written in this file.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let mut modules: Vec<Module> = Vec::new();
        let mut path = None;
        for index in 0..self.len() {
            match self.token(index) {
                "path" if self.token(index + 1) == "=" => {
                    path = self.literal(index + 2).map(str::to_owned);
                }
                "mod" if is_name(self.token(index + 1)) => {
                    let module = self.module(index, &modules, path.take());
                    modules.extend(module);
                }
                ";" | "{" | "}" => path = None,
                _ => {}
            }
        }
        modules
    }

    fn module(&self, index: usize, outer: &[Module], path: Option<String>) -> Option<Module> {
        let at = self.offset(index);
        let body = match self.token(index + 2) {
            "{" => Some(self.offset(index + 2)..self.offset(self.closing(index + 2)) + 1),
            ";" => None,
            _ => return None,
        };
        let around = |module: &&Module| module.body.as_ref().is_some_and(|body| body.contains(&at));
        let within = outer.iter().filter(around).map(|module| module.name.clone()).collect();
        let name = self.token(index + 1).to_owned();
        Some(Module { name, within, path, body, test: self.is_test(at) })
    }

    fn find_tests(&mut self) {
        let mut spans = Vec::new();
        let mut all = false;
        for index in self.find(&["#", "!", "["]) {
            all |= self.is_cfg_test(index + 3);
        }
        for index in self.find(&["#", "["]) {
            if self.is_cfg_test(index + 2)
                && let Some(end) = self.item_end(self.closing(index + 1) + 1)
            {
                spans.push(self.offset(index)..self.offset(end) + 1);
            }
        }
        self.test_spans = spans;
        self.all_test = all;
    }

    /// `cfg(test)`, or `cfg(all(…))` with `test` as one of its terms.
    fn is_cfg_test(&self, index: usize) -> bool {
        let starts = |words: &[&str]| {
            words.iter().enumerate().all(|(step, word)| self.token(index + step) == *word)
        };
        if starts(&["cfg", "(", "test", ")"]) {
            return true;
        }
        if !starts(&["cfg", "(", "all", "("]) {
            return false;
        }
        let close = self.closing(index + 3);
        let mut at = index + 4;
        while at < close {
            match self.token(at) {
                "test" => return true,
                "(" => at = self.closing(at),
                _ => {}
            }
            at += 1;
        }
        false
    }

    /// The last token of the item that starts at `index`, after its other attributes; none if it
    /// is no item (a field, an arm, a statement).
    fn item_end(&self, mut index: usize) -> Option<usize> {
        while self.token(index) == "#" {
            index = self.closing(index + 1) + 1;
        }
        if self.token(index) == "pub" {
            index += 1;
            if self.token(index) == "(" {
                index = self.closing(index) + 1;
            }
        }
        let function = ["fn", "unsafe", "async", "extern"].contains(&self.token(index + 1));
        match self.token(index) {
            "use" | "static" | "type" => self.semicolon(index),
            "const" if !function => self.semicolon(index),
            "mod" | "fn" | "impl" | "struct" | "enum" | "trait" | "unsafe" | "async" | "extern"
            | "const" | "macro_rules" => self.brace_or_semicolon(index),
            _ => None,
        }
    }

    fn semicolon(&self, mut index: usize) -> Option<usize> {
        while index < self.len() {
            match self.token(index) {
                ";" => return Some(index),
                "(" | "[" | "{" => index = self.closing(index),
                _ => {}
            }
            index += 1;
        }
        None
    }

    fn brace_or_semicolon(&self, mut index: usize) -> Option<usize> {
        while index < self.len() {
            match self.token(index) {
                ";" => return Some(index),
                "{" => return Some(self.closing(index)),
                "(" | "[" => index = self.closing(index),
                _ => {}
            }
            index += 1;
        }
        None
    }
}

/// Whether a token is an identifier.
pub(crate) fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_items_are_found() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("x.rs", text);
        assert!(!source.is_test(text.find("a()").unwrap()));
        assert!(source.is_test(text.find("b()").unwrap()));
        assert!(!source.is_test(text.find("c()").unwrap()));
        assert_eq!(source.count_code_lines(), 2);
    }

    #[test]
    fn test_items_of_other_forms_are_found() {
        for text in [
            "#[cfg(test)] use a::{b, THIS}; fn c() {}",
            "#[cfg(all(test, unix))] #[rustfmt::skip] pub(crate) mod t { THIS }",
            "#[cfg(all(unix, test))] const A: [u8; 2] = [1, THIS];",
            "#[cfg(test)] impl A for [B; 4] { THIS }",
            "#![cfg(test)] fn a() { THIS }",
        ] {
            let source = Source::new("x.rs", text);
            assert!(source.is_test(text.find("THIS").unwrap()), "{text}");
        }
        for text in [
            "#[cfg(not(test))] mod t { THIS }",
            "#[cfg(any(test, unix))] mod t { THIS }",
            "#[cfg(all(unix, not(test)))] mod t { THIS }",
            "struct A { #[cfg(test)] b: u8, c: THIS }",
            "#[cfg(test)] use a::b; mod t { THIS }",
            "// #[cfg(test)]\nmod t { THIS }",
        ] {
            let source = Source::new("x.rs", text);
            assert!(!source.is_test(text.find("THIS").unwrap()), "{text}");
        }
    }

    #[test]
    fn functions_count_code_lines_only() {
        let text = "fn a(x: [u8; 2]) -> u8 {\n  // why\n\n  let y = \"}\";\n  1\n}\n\
                    trait T { fn b(); fn c() {} }\ntype F = fn(u8);\n";
        let functions = Source::new("x.rs", text).functions();
        let found: Vec<(&str, usize, usize)> = functions
            .iter()
            .map(|function| (function.name.as_str(), function.line, function.code_lines))
            .collect();
        assert_eq!(found, [("a", 1, 4), ("c", 7, 1)]);
    }

    #[test]
    fn modules_know_where_they_are() {
        let text = "mod a;\n#[path = \"other.rs\"] mod b;\nmod c { mod d; }\n\
                    #[cfg(test)] mod tests;\n// mod e;\n";
        let modules = Source::new("x.rs", text).modules();
        let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "tests"]);
        assert_eq!(modules[1].path.as_deref(), Some("other.rs"));
        assert_eq!(modules[3].within, ["c"]);
        assert!(modules[4].test && !modules[0].test);
    }

    #[test]
    fn literals_keep_their_text() {
        let source = Source::new("x.rs", "f(\"a b\", r#\"c\"d\"#, e)");
        assert_eq!(source.literal(2), Some("a b"));
        assert_eq!(source.literal(4), Some("c\"d"));
        assert_eq!(source.literal(6), None);
    }

    #[test]
    fn lines_count_from_one() {
        let source = Source::new("x.rs", "a\nb\n");
        assert_eq!((source.line_of(0), source.line_of(2)), (1, 2));
    }
}
