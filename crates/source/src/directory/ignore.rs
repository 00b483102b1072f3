//! Files that say what to leave out of their directory, as git reads them (`gitignore(5)`): by bytes, the last line that
//! matches decides, `!` brings back.
//!
//! A line without a slash is for names at any depth; one with a slash for the path from that directory on, where `*`
//! stops at slashes and `**` between slashes does not; one that ends in a slash for directories. A line that cannot be
//! understood matches nothing, as in git. Where git differs from its manual (`a**/b`, by a shortcut for literal beginnings)
//! the manual holds. No pattern takes longer than its length times that of the path.

/// The lines of one file.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    brings_back: bool,
    directory: bool,
    /// Whether it is for the whole path, not for the name alone.
    whole: bool,
    parts: Vec<Part>,
}

/// What stands between two slashes.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// `**`: any number of directories.
    Folders,
    Name(Vec<Token>),
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Run,
    /// `[a-z]`: for each byte, whether it is meant.
    Set(Box<[bool; 256]>),
}

/// What a file says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out.
    Out,
    /// It is kept, whatever was said before.
    Kept,
}

impl Rules {
    /// Reads a file.
    pub(super) fn parse(text: &[u8]) -> Rules {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Rules(text.split(|&byte| byte == b'\n').filter_map(rule).collect())
    }

    /// What the file says of `path`, which starts at the file's directory; `None` if nothing.
    pub(super) fn verdict(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        let rule =
            self.0.iter().rev().find(|rule| (is_directory || !rule.directory) && rule.matches(path))?;
        Some(if rule.brings_back { Verdict::Kept } else { Verdict::Out })
    }
}

impl Rule {
    fn matches(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        match (self.whole, self.parts.as_slice()) {
            (false, [Part::Name(tokens)]) => name_matches(tokens, name),
            _ => path_matches(&self.parts, &path.split(|&byte| byte == b'/').collect::<Vec<_>>()),
        }
    }
}

fn rule(line: &[u8]) -> Option<Rule> {
    let line = trimmed(line.strip_suffix(b"\r").unwrap_or(line));
    if line.first().is_none_or(|&byte| byte == b'#') {
        return None;
    }
    let (brings_back, line) = line.strip_prefix(b"!").map_or((false, line), |rest| (true, rest));
    let (directory, line) = line.strip_suffix(b"/").map_or((false, line), |rest| (true, rest));
    let whole = line.contains(&b'/');
    let mut parts = parts(line.strip_prefix(b"/").unwrap_or(line), whole)?;
    if parts.last() == Some(&Part::Folders) {
        parts.push(Part::Name(vec![Token::Run]));
    }
    Some(Rule { brings_back, directory, whole, parts })
}

/// Without spaces at the end, but for those behind a backslash.
fn trimmed(line: &[u8]) -> &[u8] {
    let (mut end, mut at) = (0, 0);
    while let Some(&byte) = line.get(at) {
        at += if byte == b'\\' { 2 } else { 1 };
        if byte != b' ' {
            end = at.min(line.len());
        }
    }
    &line[..end]
}

/// `None` for what can match nothing: a bracket that is not closed, a backslash at the end.
fn parts(mut pattern: &[u8], whole: bool) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut tokens = Vec::new();
    while let Some((&byte, mut rest)) = pattern.split_first() {
        match byte {
            b'/' => parts.push(part(std::mem::take(&mut tokens), whole)),
            b'?' => tokens.push(Token::One),
            b'*' => tokens.push(Token::Run),
            b'[' => {
                let (set, behind) = set(rest)?;
                tokens.push(Token::Set(set));
                rest = behind;
            }
            b'\\' if rest.first() == Some(&b'/') => {}
            b'\\' => {
                let (&escaped, behind) = rest.split_first()?;
                tokens.push(Token::Byte(escaped));
                rest = behind;
            }
            byte => tokens.push(Token::Byte(byte)),
        }
        pattern = rest;
    }
    parts.push(part(tokens, whole));
    Some(parts)
}

fn part(tokens: Vec<Token>, whole: bool) -> Part {
    let is_stars = tokens.len() > 1 && tokens.iter().all(|token| *token == Token::Run);
    if whole && is_stars { Part::Folders } else { Part::Name(tokens) }
}

/// A set and what stands behind it, from behind its opening bracket.
fn set(pattern: &[u8]) -> Option<(Box<[bool; 256]>, &[u8])> {
    let mut meant = Box::new([false; 256]);
    let negated = pattern.first().is_some_and(|byte| b"!^".contains(byte));
    let mut rest = &pattern[usize::from(negated)..];
    let (mut before, mut is_first) = (None, true);
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = match byte {
            b']' if !is_first => {
                meant.iter_mut().for_each(|is_meant| *is_meant ^= negated);
                return Some((meant, behind));
            }
            b'-' if before.is_some() && behind.first().is_some_and(|&next| next != b']') => {
                let (last, behind) = escaped(behind)?;
                let first = before.take().unwrap_or(last);
                (first..=last).for_each(|byte| meant[usize::from(byte)] = true);
                behind
            }
            b'[' if is_class(behind)? => {
                let (class, behind) = class(behind)?;
                (0..=255u8).filter(class).for_each(|byte| meant[usize::from(byte)] = true);
                before = None;
                behind
            }
            _ => {
                let (one, behind) = escaped(rest)?;
                meant[usize::from(one)] = true;
                before = Some(one);
                behind
            }
        };
        is_first = false;
    }
}

/// One byte, or the one behind a backslash.
fn escaped(pattern: &[u8]) -> Option<(u8, &[u8])> {
    let (&byte, rest) = pattern.split_first()?;
    if byte != b'\\' {
        return Some((byte, rest));
    }
    rest.split_first().map(|(&byte, rest)| (byte, rest))
}

/// Whether `:alpha:]` or its like stands here; `None` if the bracket is never closed.
fn is_class(pattern: &[u8]) -> Option<bool> {
    let Some(name) = pattern.strip_prefix(b":") else {
        return Some(false);
    };
    let end = name.iter().position(|&byte| byte == b']')?;
    Some(name[..end].ends_with(b":"))
}

type Class = fn(&u8) -> bool;

/// A class by its name, and what stands behind it; `None` for one that there is not.
fn class(pattern: &[u8]) -> Option<(Class, &[u8])> {
    const CLASSES: [(&[u8], Class); 12] = [
        (b":alnum:]", u8::is_ascii_alphanumeric),
        (b":alpha:]", u8::is_ascii_alphabetic),
        (b":blank:]", |byte| b" \t".contains(byte)),
        (b":cntrl:]", u8::is_ascii_control),
        (b":digit:]", u8::is_ascii_digit),
        (b":graph:]", u8::is_ascii_graphic),
        (b":lower:]", u8::is_ascii_lowercase),
        (b":print:]", |byte| (b' '..=b'~').contains(byte)),
        (b":punct:]", u8::is_ascii_punctuation),
        (b":space:]", |byte| b" \t\n\x0b\x0c\r".contains(byte)),
        (b":upper:]", u8::is_ascii_uppercase),
        (b":xdigit:]", u8::is_ascii_hexdigit),
    ];
    CLASSES.iter().find_map(|(name, class)| pattern.strip_prefix(*name).map(|rest| (*class, rest)))
}

/// Names and `**` against the names of a path. Where a name does not fit, the last `**` takes one name more.
fn path_matches(parts: &[Part], names: &[&[u8]]) -> bool {
    let (mut part, mut name, mut retry) = (0, 0, None);
    while name < names.len() {
        match parts.get(part) {
            Some(Part::Folders) => {
                retry = Some((part, name));
                part += 1;
            }
            Some(Part::Name(tokens)) if name_matches(tokens, names[name]) => {
                (part, name) = (part + 1, name + 1);
            }
            _ => {
                let Some((folders, taken)) = retry else { return false };
                retry = Some((folders, taken + 1));
                (part, name) = (folders + 1, taken + 1);
            }
        }
    }
    part == parts.len()
}

/// One name of a pattern against one of a path. Where a byte does not fit, the last `*` takes one byte more.
fn name_matches(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at, mut retry) = (0, 0, None);
    while at < name.len() {
        let fits = match tokens.get(token) {
            Some(Token::Run) => {
                retry = Some((token, at));
                token += 1;
                continue;
            }
            Some(Token::Byte(byte)) => *byte == name[at],
            Some(Token::One) => true,
            Some(Token::Set(meant)) => meant[usize::from(name[at])],
            None => false,
        };
        if fits {
            (token, at) = (token + 1, at + 1);
            continue;
        }
        let Some((run, taken)) = retry else { return false };
        retry = Some((run, taken + 1));
        (token, at) = (run + 1, taken + 1);
    }
    tokens[token..].iter().all(|token| *token == Token::Run)
}

#[cfg(test)]
mod tests {
    use world::World;

    use super::*;

    /// What a file of one line says of a file and of a directory of this name: `-` nothing, `o` out, `k` kept.
    fn said(text: &[u8], path: &[u8]) -> String {
        let letter = |verdict| match verdict {
            None => '-',
            Some(Verdict::Out) => 'o',
            Some(Verdict::Kept) => 'k',
        };
        let rules = Rules::parse(text);
        [false, true].map(|is_directory| letter(rules.verdict(path, is_directory))).iter().collect()
    }

    fn check(rows: &[(&[u8], &[u8], &str)]) {
        for (text, path, expected) in rows {
            let shown = (String::from_utf8_lossy(text), String::from_utf8_lossy(path));
            assert_eq!(said(text, path), *expected, "{shown:?}");
        }
    }

    /// What the rules of git say of each.
    #[test]
    fn lines_mean_what_git_says() {
        check(&[
            (b"*.o", b"a/b/x.o", "oo"),
            (b"*.o", b"x.o/y", "--"),
            (b"/x", b"a/x", "--"),
            (b"/x", b"x", "oo"),
            (b"a/x", b"a/x", "oo"),
            (b"a/x", b"b/a/x", "--"),
            (b"x/", b"x", "-o"),
            (b"x/", b"a/x", "-o"),
            (b"a/*", b"a/b", "oo"),
            (b"a/*", b"a/b/c", "--"),
            (b"**/x", b"x", "oo"),
            (b"**/x", b"a/b/x", "oo"),
            (b"a/**", b"a", "--"),
            (b"a/**", b"a/b/c", "oo"),
            (b"a/**/b", b"a/b", "oo"),
            (b"a/**/b", b"a/x/y/b", "oo"),
            (b"a/**/b", b"a/x/y/bc", "--"),
            (b"a**b", b"axxb", "oo"),
            (b"a**b", b"a/b", "--"),
            (b"/a**/b", b"axx/b", "oo"),
            (b"a\\/**", b"a/b/c", "oo"),
            (b"?", b"a", "oo"),
            (b"?", b"ab", "--"),
            (b"!x", b"x", "kk"),
            (b"\\!x", b"!x", "oo"),
            (b"\\#x", b"#x", "oo"),
            (b"#x", b"#x", "--"),
            (b"", b"x", "--"),
            (b"/", b"x", "--"),
            (b"x  ", b"x", "oo"),
            (b"x\\ ", b"x ", "oo"),
            (b"x\\  ", b"x ", "oo"),
            (b"x\r", b"x", "oo"),
            (b"{a,b}", b"a", "--"),
            (b"{a,b}", b"{a,b}", "oo"),
            (b"\xff*", b"\xff\xfe", "oo"),
            (b"\xef\xbb\xbfx", b"x", "oo"),
        ]);
    }

    #[test]
    fn sets_mean_what_git_says() {
        check(&[
            (b"[ab]", b"b", "oo"),
            (b"[a-c]x", b"bx", "oo"),
            (b"[!a-c]x", b"bx", "--"),
            (b"[^a-c]x", b"dx", "oo"),
            (b"[]x]", b"]", "oo"),
            (b"[!]x]", b"]", "--"),
            (b"[a-]", b"-", "oo"),
            (b"[\\]]", b"]", "oo"),
            (b"[a\\-c]", b"b", "--"),
            (b"[[:digit:]a-c]", b"7", "oo"),
            (b"[[:digit:]-z]", b"-", "oo"),
            (b"[[:no:]]", b"n", "--"),
            (b"[[:]", b":", "oo"),
            (b"[a", b"a", "--"),
            (b"[a", b"[a", "--"),
            (b"a\\", b"a\\", "--"),
            (b"[a-c", b"[a-c", "--"),
        ]);
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        check(&[
            (b"*.o\n!keep.o", b"keep.o", "kk"),
            (b"!keep.o\n*.o", b"keep.o", "oo"),
            (b"*\n!*/\n!*.c", b"a", "ok"),
            (b"x\n!x/", b"x", "ok"),
            (b"x\n\n# no\n", b"y", "--"),
        ]);
    }

    #[test]
    fn a_pattern_made_to_take_long_does_not() {
        let (stars, folders) = (b"a*".repeat(200), b"**/a/".repeat(200));
        let world = World::real();
        let started = world.monotonic();
        assert_eq!(said(&[&stars[..], b"b"].concat(), &b"a".repeat(255)), "--");
        assert_eq!(said(&[&folders[..], b"b"].concat(), &b"a/".repeat(3000)), "--");
        assert!((world.monotonic() - started).as_secs() < 5);
    }
}
