//! wait-for's expressions over what status shows: comparisons, `&&`, `||`, parentheses, `len(units)`,
//! `forEach(units, u => u.workload-status == "active")`, `startsWith(message, "Synced")`.

use serde_json::{Map, Value};

/// A query that has been understood.
#[derive(Debug)]
pub(super) enum Query {
    Literal(Value),
    /// `status`, or `u.workload-status` inside of `forEach`.
    Name(Vec<String>),
    Not(Box<Query>),
    Both(Box<Query>, Box<Query>),
    Either(Box<Query>, Box<Query>),
    Compare(Box<Query>, Comparison, Box<Query>),
    Length(Box<Query>),
    StartsWith(Box<Query>, Box<Query>),
    EndsWith(Box<Query>, Box<Query>),
    ForEach(Box<Query>, String, Box<Query>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    More,
    AtMost,
    AtLeast,
}

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// Names what cannot be understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let query = parser.either()?;
        match tokens.get(parser.at) {
            None => Ok(query),
            Some(extra) => Err(format!("cannot understand the query from {:?} on", extra.shown())),
        }
    }

    /// Whether the expression is true of these values.
    ///
    /// # Errors
    /// Names the value that is not there, or does not fit.
    pub(super) fn holds(&self, values: &Map<String, Value>) -> Result<bool, String> {
        let value = self.value(values)?;
        value.as_bool().ok_or_else(|| format!("cannot take {value} for yes or no; compare it with something"))
    }

    fn value(&self, values: &Map<String, Value>) -> Result<Value, String> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Name(path) => look_up(values, path)?.clone(),
            Self::Not(inner) => Value::Bool(!inner.holds(values)?),
            Self::Both(a, b) => Value::Bool(a.holds(values)? && b.holds(values)?),
            Self::Either(a, b) => Value::Bool(a.holds(values)? || b.holds(values)?),
            Self::Compare(a, how, b) => Value::Bool(compare(&a.value(values)?, *how, &b.value(values)?)?),
            Self::Length(inner) => {
                let value = inner.value(values)?;
                let text = value.as_str().map(|text| text.chars().count());
                let length = value.as_array().map(Vec::len).or(text);
                length.ok_or_else(|| format!("cannot take the length of {value}"))?.into()
            }
            Self::StartsWith(a, b) => Value::Bool(a.text(values)?.starts_with(&b.text(values)?)),
            Self::EndsWith(a, b) => Value::Bool(a.text(values)?.ends_with(&b.text(values)?)),
            Self::ForEach(list, name, body) => {
                let Value::Array(items) = list.value(values)? else {
                    return Err("cannot go through what is no list; use units".to_owned());
                };
                let mut inner = values.clone();
                for item in items {
                    inner.insert(name.clone(), item);
                    if !body.holds(&inner)? {
                        return Ok(Value::Bool(false));
                    }
                }
                Value::Bool(true)
            }
        })
    }

    fn text(&self, values: &Map<String, Value>) -> Result<String, String> {
        let value = self.value(values)?;
        value.as_str().map(ToOwned::to_owned).ok_or_else(|| format!("cannot take {value} for a text"))
    }
}

fn look_up<'a>(values: &'a Map<String, Value>, path: &[String]) -> Result<&'a Value, String> {
    let mut map = Some(values);
    let mut found = None;
    for name in path {
        let here = map.ok_or_else(|| format!("cannot find {:?} in a query", path.join(".")))?;
        let value = here.get(name).ok_or_else(|| {
            let known = here.keys().cloned().collect::<Vec<_>>().join(", ");
            format!("cannot find {name:?} in a query; known are {known}")
        })?;
        map = value.as_object();
        found = Some(value);
    }
    found.ok_or_else(|| "cannot find an empty name".to_owned())
}

fn compare(a: &Value, how: Comparison, b: &Value) -> Result<bool, String> {
    let numbers = a.as_f64().zip(b.as_f64());
    let order = |fits: fn(f64, f64) -> bool| match numbers {
        Some((a, b)) => Ok(fits(a, b)),
        None => Err(format!("cannot compare {a} with {b}: only numbers are smaller and larger")),
    };
    match how {
        Comparison::Equal => Ok(a == b),
        Comparison::Different => Ok(a != b),
        Comparison::Less => order(|a, b| a < b),
        Comparison::More => order(|a, b| a > b),
        Comparison::AtMost => order(|a, b| a <= b),
        Comparison::AtLeast => order(|a, b| a >= b),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Word(String),
    Sign(String),
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Text(text) | Self::Word(text) | Self::Sign(text) => text,
        }
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        if c == '"' || c == '\'' {
            let mut text = String::new();
            loop {
                match chars.next() {
                    Some(end) if end == c => break,
                    Some(inner) => text.push(inner),
                    None => return Err(format!("cannot find the end of the text {c}{text}")),
                }
            }
            tokens.push(Token::Text(text));
        } else if c.is_alphanumeric() || c == '_' {
            let mut word = c.to_string();
            while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || "-_.".contains(*n)) {
                word.push(next);
            }
            tokens.push(Token::Word(word));
        } else {
            let mut sign = c.to_string();
            if "=!<>&|".contains(c) {
                if let Some(next) = chars.next_if(|n| "=&|>".contains(*n)) {
                    sign.push(next);
                }
            }
            tokens.push(Token::Sign(sign));
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("cannot understand the query: it ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| *t == Token::Sign(sign.to_owned()));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.eat(sign) {
            return Ok(());
        }
        let found = self.tokens.get(self.at).map_or("its end", Token::shown);
        Err(format!("cannot understand the query: expected {sign:?} before {found:?}"))
    }

    fn either(&mut self) -> Result<Query, String> {
        let mut query = self.both()?;
        while self.eat("||") {
            query = Query::Either(Box::new(query), Box::new(self.both()?));
        }
        Ok(query)
    }

    fn both(&mut self) -> Result<Query, String> {
        let mut query = self.comparison()?;
        while self.eat("&&") {
            query = Query::Both(Box::new(query), Box::new(self.comparison()?));
        }
        Ok(query)
    }

    fn comparison(&mut self) -> Result<Query, String> {
        let left = self.value()?;
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Different),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::More),
        ];
        match signs.into_iter().find(|(sign, _)| self.eat(sign)) {
            Some((_, how)) => Ok(Query::Compare(Box::new(left), how, Box::new(self.value()?))),
            None => Ok(left),
        }
    }

    fn value(&mut self) -> Result<Query, String> {
        if self.eat("!") {
            return Ok(Query::Not(Box::new(self.value()?)));
        }
        if self.eat("(") {
            let inner = self.either()?;
            self.expect(")")?;
            return Ok(inner);
        }
        match self.next()? {
            Token::Text(text) => Ok(Query::Literal(text.into())),
            Token::Sign(sign) => Err(format!("cannot understand the query from {sign:?} on")),
            Token::Word(word) => self.word(&word),
        }
    }

    fn word(&mut self, word: &str) -> Result<Query, String> {
        if let Ok(number) = word.parse::<i64>() {
            return Ok(Query::Literal(number.into()));
        }
        if ["true", "false"].contains(&word) {
            return Ok(Query::Literal(Value::Bool(word == "true")));
        }
        if !self.eat("(") {
            return Ok(Query::Name(word.split('.').map(ToOwned::to_owned).collect()));
        }
        let first = Box::new(self.either()?);
        let query = match word {
            "len" => Query::Length(first),
            "startsWith" | "endsWith" => {
                self.expect(",")?;
                let second = Box::new(self.either()?);
                if word == "startsWith" { Query::StartsWith(first, second) } else { Query::EndsWith(first, second) }
            }
            "forEach" => {
                self.expect(",")?;
                let Token::Word(name) = self.next()? else {
                    return Err("cannot understand forEach; write forEach(units, u => u.life == \"alive\")".to_owned());
                };
                self.expect("=>")?;
                Query::ForEach(first, name, Box::new(self.either()?))
            }
            other => {
                return Err(format!("cannot call {other:?}; known are len, forEach, startsWith and endsWith"));
            }
        };
        self.expect(")")?;
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(query: &str, expected: Expect) {
        let values = json!({"status": "active", "message": "Synced, 2 of 2 members", "life": "alive", "units": [
            {"name": "db/0", "workload-status": "active"}, {"name": "db/1", "workload-status": "waiting"}]});
        let answer = Query::parse(query).and_then(|q| q.holds(values.as_object().unwrap()));
        expected.assert_eq(&answer.map_or_else(|why| why, |answer| answer.to_string()));
    }

    #[test]
    fn answers() {
        check(r#"status=="active""#, expect!["true"]);
        check("status == 'active' && len(units) == 3", expect!["false"]);
        check(r#"status=="blocked" || (len(units) >= 2 && message != "")"#, expect!["true"]);
        check(r#"status=="blocked" && len(units) >= 2 || life=="alive""#, expect!["true"]);
        check(r#"forEach(units, u => u.workload-status == "active")"#, expect!["false"]);
        check(r#"forEach(units, u => startsWith(u.name, "db/")) && !(len(units) > 2)"#, expect!["true"]);
        check("endsWith(message, 'members')", expect!["true"]);
    }

    #[test]
    fn complaints() {
        check("colour == 3", expect![[r#"cannot find "colour" in a query; known are life, message, status, units"#]]);
        check("status == \"x", expect![[r#"cannot find the end of the text "x"#]]);
        check("status ==", expect!["cannot understand the query: it ends too early"]);
        check("status", expect![[r#"cannot take "active" for yes or no; compare it with something"#]]);
        check("status > 3", expect![[r#"cannot compare "active" with 3: only numbers are smaller and larger"#]]);
        check("(life == 'alive'", expect![[r#"cannot understand the query: expected ")" before "its end""#]]);
        check("life = 'alive'", expect![[r#"cannot understand the query from "=" on"#]]);
        check(
            "count(units) == 1",
            expect![[r#"cannot call "count"; known are len, forEach, startsWith and endsWith"#]],
        );
    }
}
