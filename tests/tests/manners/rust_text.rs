//! Takes Rust source apart into code, comments and string literals.
//!
//! `code` and `comments` have the lines and columns of the source, with everything else blanked, so a check
//! that looks for a word in code never stumbles over a sentence about it, and a planted bad example in a
//! string harms nobody. It is a scanner, not a parser: source that does not compile gives parts that mean
//! little.

/// The three parts of one source file.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) code: String,
    pub(crate) comments: String,
    pub(crate) strings: Vec<String>,
}

/// Takes `text` apart.
pub(crate) fn split(text: &str) -> Parts {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, parts: Parts::default() };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    scanner.parts
}

/// Where in `code` the word `word` stands by itself, as byte offsets. A word may end in punctuation.
pub(crate) fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let is_open_ended = word.ends_with(|c: char| !is_word(c));
        !before.is_some_and(is_word) && (is_open_ended || !after.is_some_and(is_word))
    })
}

/// The line, counted from 1, that holds byte `at` of `text`.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    parts: Parts,
}

impl Scanner {
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.comment_to(|scanner| scanner.peek(0) == '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(None),
            ('\'', _) => self.quote(),
            ('r', '"' | '#') if self.raw_hashes().is_some() => self.raw_string(),
            _ => self.code(),
        }
    }

    /// The character `ahead` of here; a line end after the last one, which closes whatever is open.
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\n')
    }

    fn is_done(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn code(&mut self) {
        let c = self.peek(0);
        self.parts.code.push(c);
        self.parts.comments.push(if c == '\n' { c } else { ' ' });
        self.at += 1;
    }

    fn comment(&mut self) {
        let c = self.peek(0);
        self.parts.comments.push(c);
        self.parts.code.push(if c == '\n' { c } else { ' ' });
        self.at += 1;
    }

    /// Takes one character that is neither code nor comment.
    fn blank(&mut self) -> char {
        let c = self.peek(0);
        let shown = if c == '\n' { c } else { ' ' };
        self.parts.code.push(shown);
        self.parts.comments.push(shown);
        self.at += 1;
        c
    }

    fn comment_to(&mut self, ends: impl Fn(&Self) -> bool) {
        while !self.is_done() && !ends(self) {
            self.comment();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.is_done() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.comment();
                    continue;
                }
            }
            self.comment();
            self.comment();
            if depth == 0 {
                return;
            }
        }
    }

    /// A literal from its opening quote on: a raw one with `hashes` after its closing quote, or one with
    /// escapes.
    fn string(&mut self, hashes: Option<usize>) {
        self.code();
        let mut said = String::new();
        while !self.is_done() && !self.closes(hashes) {
            if hashes.is_none() && self.peek(0) == '\\' {
                said.push(self.blank());
            }
            said.push(self.blank());
        }
        if !self.is_done() {
            self.code();
        }
        self.parts.strings.push(said);
    }

    fn closes(&self, hashes: Option<usize>) -> bool {
        self.peek(0) == '"' && (1..=hashes.unwrap_or(0)).all(|ahead| self.peek(ahead) == '#')
    }

    /// The number of hashes if a raw string starts here, at its `r`.
    fn raw_hashes(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).map(|at| self.chars[at]);
        let follows_word = before.is_some_and(|c| is_word(c) && c != 'b' && c != 'c');
        let hashes = (1..).take_while(|&ahead| self.peek(ahead) == '#').count();
        (!follows_word && self.peek(1 + hashes) == '"').then_some(hashes)
    }

    fn raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or(0);
        for _ in 0..=hashes {
            self.code();
        }
        self.string(Some(hashes));
    }

    /// A character literal is blanked; a lifetime is code.
    fn quote(&mut self) {
        let is_escape = self.peek(1) == '\\';
        let is_literal = is_escape || self.peek(2) == '\'';
        self.code();
        if !is_literal {
            return;
        }
        if is_escape {
            self.blank();
        }
        self.blank();
        while !self.is_done() && self.peek(0) != '\'' {
            self.blank();
        }
        self.code();
    }
}

#[test]
fn code_comments_and_strings_are_kept_apart() {
    let cases = [
        ("a // b\nc", "a     \nc", "  // b\n"),
        ("a /* b /* c */ d */ e", "a                   e", "  /* b /* c */ d */"),
        (r#"f("x // \" y") + 1"#, r#"f("         ") + 1"#, ""),
        (r###"r#"x " y"# z"###, r###"r#"     "# z"###, ""),
        (r"'{' '\'' '\u{7b}' &'a str", r"' ' '  ' '      ' &'a str", ""),
        (r#"br"\" car"#, r#"br" " car"#, ""),
        ("\"never closed", "\"            ", ""),
    ];
    for (text, code, comments) in cases {
        let parts = split(text);
        assert_eq!(parts.code, code, "code of {text:?}");
        assert_eq!(parts.comments.trim_end(), comments.trim_end(), "comments of {text:?}");
        assert_eq!(parts.comments.len(), code.len(), "columns of {text:?}");
    }
    assert_eq!(split(r###"f("a\"b", r#"c"d"#)"###).strings, [r#"a\"b"#, r#"c"d"#]);
}

#[test]
fn words_are_found_whole() {
    assert_eq!(find_word("unsafe_code unsafe {", "unsafe").collect::<Vec<_>>(), [12]);
    assert_eq!(find_word("eprint!() print!(x)", "print!").collect::<Vec<_>>(), [10]);
    assert_eq!(line_of("a\nb\nc", 4), 3);
}
