//! Label selectors: Kubernetes' grammar, which has two operators more than its documentation tells.
//! Errors are in Kubernetes' words: people look them up.
//!
//! What a key and a value may be is in `valid`.

mod valid;

use std::collections::BTreeSet;

/// Requirements of one selector: a longer one would only keep a core busy.
const MOST: usize = 1000;

/// A label selector; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// `=`, `==`, `in`.
    In(BTreeSet<String>),
    /// `!=`, `notin`: or there is no such label.
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
    /// `>`.
    Over(i64),
    /// `<`.
    Under(i64),
}

impl LabelSelector {
    /// Reads one.
    ///
    /// # Errors
    /// Kubernetes' text for an answer of 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser { tokens: tokens(text), place: 0 }.selector().map(Self)
    }

    /// Whether it selects an object of which `label` gives the labels.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|Requirement { key, test }| {
            let value = label(key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Over(bound) => number().is_some_and(|number| number > *bound),
                Test::Under(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    End,
    Close,
    Comma,
    Not,
    /// `=`, `==`.
    Equal,
    Over,
    Word,
    In,
    Under,
    Unequal,
    NotIn,
    Open,
}

impl Kind {
    fn of(text: &str) -> Self {
        match text {
            ")" => Self::Close,
            "," => Self::Comma,
            "!" => Self::Not,
            "=" | "==" => Self::Equal,
            ">" => Self::Over,
            "in" => Self::In,
            "<" => Self::Under,
            "!=" => Self::Unequal,
            "notin" => Self::NotIn,
            "(" => Self::Open,
            _ => Self::Word,
        }
    }
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_sign(letter: char) -> bool {
    matches!(letter, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn tokens(text: &str) -> Vec<(Kind, &str)> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start_matches(is_space));
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("==") || rest.starts_with("!=") {
            2
        } else if is_sign(first) {
            1
        } else {
            rest.find(|letter| is_sign(letter) || is_space(letter)).unwrap_or(rest.len())
        };
        let (token, after) = rest.split_at(length);
        tokens.push((Kind::of(token), token));
        rest = after.trim_start_matches(is_space);
    }
    tokens
}

struct Parser<'t> {
    tokens: Vec<(Kind, &'t str)>,
    place: usize,
}

impl<'t> Parser<'t> {
    /// The next token as an operator or a sign.
    fn peek_operator(&self) -> (Kind, &'t str) {
        self.tokens.get(self.place).copied().unwrap_or((Kind::End, ""))
    }

    /// The next token where a key or a value may stand: `in` and `notin` may be one.
    fn peek(&self) -> (Kind, &'t str) {
        match self.peek_operator() {
            (Kind::In | Kind::NotIn, text) => (Kind::Word, text),
            token => token,
        }
    }

    fn take(&mut self) -> (Kind, &'t str) {
        let token = self.peek();
        self.place += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        loop {
            match self.peek() {
                (Kind::Word | Kind::Not, _) => {}
                (Kind::End, _) => break,
                (_, text) => return Err(format!("found '{text}', expected: !, identifier, or 'end of string'")),
            }
            if all.len() == MOST {
                return Err(format!("more than {MOST} requirements; select less at a time"));
            }
            all.push(self.requirement().map_err(|error| format!("unable to parse requirement: {error}"))?);
            match self.take() {
                (Kind::End, _) => break,
                (Kind::Comma, _) => match self.peek() {
                    (Kind::Word | Kind::Not, _) => {}
                    (_, text) => return Err(format!("found '{text}', expected: identifier after ','")),
                },
                (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
            }
        }
        Ok(all)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut kind, mut key) = self.take();
        let absent = kind == Kind::Not;
        if absent {
            (kind, key) = self.take();
        }
        if kind != Kind::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        valid::key(key)?;
        let key = key.to_owned();
        if absent || matches!(self.peek().0, Kind::End | Kind::Comma) {
            return Ok(Requirement { key, test: if absent { Test::Absent } else { Test::Exists } });
        }
        let (operator, text) = self.peek_operator();
        self.place += 1;
        let values = match operator {
            Kind::In | Kind::NotIn => self.values()?,
            Kind::Equal | Kind::Unequal | Kind::Over | Kind::Under => self.value()?,
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        valid::values(&key, &values, matches!(operator, Kind::Over | Kind::Under))?;
        // They were found to be numbers.
        let number = || values.iter().next().and_then(|value| value.parse().ok()).unwrap_or_default();
        let test = match operator {
            Kind::Over => Test::Over(number()),
            Kind::Under => Test::Under(number()),
            Kind::NotIn | Kind::Unequal => Test::NotIn(values),
            _ => Test::In(values),
        };
        Ok(Requirement { key, test })
    }

    /// What follows `=` and its like; nothing is a value, too.
    fn value(&mut self) -> Result<BTreeSet<String>, String> {
        if matches!(self.peek().0, Kind::End | Kind::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take() {
            (Kind::Word, text) => Ok(BTreeSet::from([text.to_owned()])),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    /// What follows `in` and `notin`: nothing between two commas is a value, too.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        match self.take() {
            (Kind::Open, _) => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        match self.peek() {
            (Kind::Word | Kind::Comma | Kind::Close, _) => {}
            (_, text) => return Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                (Kind::Word, text) => {
                    self.place += 1;
                    text
                }
                (Kind::Comma | Kind::Close, _) => "",
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            };
            values.insert(value.to_owned());
            match self.take() {
                (Kind::Comma, _) => {}
                (Kind::Close, _) => return Ok(values),
                (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&str, &str); 6] =
        [("app", "web"), ("tier", "backend"), ("empty", ""), ("in", "in"), ("n", "5"), ("example.com/zone", "z1")];

    fn selects(text: &str) -> bool {
        let label = |key: &str| LABELS.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
        LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(label)
    }

    #[test]
    fn label_selectors_select() {
        for (text, want) in [
            ("", true),
            (" \t", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , tier == backend", true),
            ("app=api", false),
            ("app!=web", false),
            ("app!=api", true),
            ("absent!=x", true),
            ("absent=x", false),
            ("absent=", false),
            ("empty=", true),
            ("empty", true),
            ("app=", false),
            ("app=,tier", false),
            ("app!=", true),
            ("app", true),
            ("!app", false),
            ("! absent", true),
            ("absent", false),
            ("app in (web)", true),
            ("app in (api,web)", true),
            ("app in ( api , web )", true),
            ("app in (api)", false),
            ("app in ()", false),
            ("empty in ()", true),
            ("empty in (,)", true),
            ("empty in (x,)", true),
            ("empty in (x,,y)", true),
            ("empty in (,x)", true),
            ("app notin (web,api)", false),
            ("app notin (api)", true),
            ("absent notin (a)", true),
            ("empty notin ()", false),
            ("app in (web),tier notin (x),!absent,n", true),
            ("in in (in)", true),
            ("in=in", true),
            ("app in (in,notin,web)", true),
            ("example.com/zone=z1", true),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app>1", false),
            ("absent<1", false),
            ("app=web,app!=api", true),
        ] {
            assert_eq!(selects(text), want, "{text}");
        }
    }

    #[test]
    fn a_selector_has_a_bound() {
        let long = vec!["!a"; MOST].join(",");
        assert!(selects(&long));
        assert!(LabelSelector::parse(&format!("{long},b")).unwrap_err().contains("more than 1000"));
    }

    #[test]
    fn nonsense_is_refused_in_kubernetes_words() {
        let requirement = |text: &str| format!("unable to parse requirement: {text}");
        for (text, want) in [
            ("a=b=c", "found '=', expected: ',' or 'end of string'".to_owned()),
            ("a b", requirement("found 'b', expected: in, notin, =, ==, !=, gt, lt")),
            (",a", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
            ("a,", "found '', expected: identifier after ','".to_owned()),
            ("a,,b", "found ',', expected: identifier after ','".to_owned()),
            ("=a", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
            ("(a)", "found '(', expected: !, identifier, or 'end of string'".to_owned()),
            ("!", requirement("found '', expected: identifier")),
            ("!!a", requirement("found '!', expected: identifier")),
            ("!a=b", "found '=', expected: ',' or 'end of string'".to_owned()),
            ("a in b", requirement("found 'b' expected: '('")),
            ("a in", requirement("found '' expected: '('")),
            ("a in (", requirement("found '', expected: ',', ')' or identifier")),
            ("a in (=", requirement("found '=', expected: ',', ')' or identifier")),
            ("a in (b", requirement("found '', expected: ',' or ')'")),
            ("a in (b c)", requirement("found 'c', expected: ',' or ')'")),
            ("a in (b,", requirement("found '', expected: ',', or identifier")),
            ("a in (b) c", "found 'c', expected: ',' or 'end of string'".to_owned()),
            ("a=(b)", requirement("found '(', expected: identifier")),
            ("a===b", requirement("found '=', expected: identifier")),
            ("a(b)", requirement("found '(', expected: in, notin, =, ==, !=, gt, lt")),
        ] {
            assert_eq!(LabelSelector::parse(text), Err(want), "{text}");
        }
    }
}
