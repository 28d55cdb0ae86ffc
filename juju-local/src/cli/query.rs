//! wait-for's expressions: comparisons joined by `&&` and `||`, with parentheses and `len(units)`.

use std::collections::BTreeMap;

/// Evaluates an expression over named values.
///
/// # Errors
/// Names what cannot be understood.
pub(super) fn holds(query: &str, values: &BTreeMap<String, String>) -> Result<bool, String> {
    let tokens = tokens(query)?;
    let mut parser = Parser { tokens: &tokens, at: 0, values };
    let result = parser.any()?;
    match parser.tokens.get(parser.at) {
        None => Ok(result),
        Some(extra) => Err(format!("query: unexpected {extra:?}")),
    }
}

fn tokens(query: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if c == '"' || c == '\'' {
            loop {
                match chars.next() {
                    Some(end) if end == c => break,
                    Some(inner) => token.push(inner),
                    None => return Err("query: a text is not closed".to_owned()),
                }
            }
        } else if c.is_alphanumeric() {
            while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || "-_.".contains(*n)) {
                token.push(next);
            }
        } else if "=!<>&|".contains(c) {
            if let Some(next) = chars.next_if(|n| "=&|".contains(*n)) {
                token.push(next);
            }
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    values: &'a BTreeMap<String, String>,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("query: ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t == token);
        if found {
            self.at += 1;
        }
        found
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut result = self.all()?;
        while self.eat("||") {
            result |= self.all()?;
        }
        Ok(result)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut result = self.one()?;
        while self.eat("&&") {
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.eat("(") {
            let result = self.any()?;
            return if self.eat(")") { Ok(result) } else { Err("query: a parenthesis is not closed".to_owned()) };
        }
        let left = self.value()?;
        let operator = self.next()?;
        let right = self.value()?;
        let numbers = left.parse::<i64>().ok().zip(right.parse::<i64>().ok());
        match operator.as_str() {
            "==" => Ok(left == right),
            "!=" => Ok(left != right),
            "<" | ">" | "<=" | ">=" => {
                let (a, b) =
                    numbers.ok_or_else(|| format!("query: {left:?} {operator} {right:?} compares no numbers"))?;
                Ok(match operator.as_str() {
                    "<" => a < b,
                    ">" => a > b,
                    "<=" => a <= b,
                    _ => a >= b,
                })
            }
            other => Err(format!("query: unknown operator {other:?}")),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        let token = self.next()?;
        if let Some(text) = token.strip_prefix(['"', '\'']) {
            return Ok(text.to_owned());
        }
        if token.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(token);
        }
        let name = if token == "len" && self.eat("(") {
            let inner = self.next()?;
            if !self.eat(")") {
                return Err("query: len( is not closed".to_owned());
            }
            format!("len({inner})")
        } else {
            token
        };
        let known = || self.values.keys().cloned().collect::<Vec<_>>().join(", ");
        self.values.get(&name).cloned().ok_or_else(|| format!("query: unknown name {name:?}; known: {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let values = BTreeMap::from([
            ("status".to_owned(), "active".to_owned()),
            ("len(units)".to_owned(), "3".to_owned()),
            ("workload-message".to_owned(), "Synced, 3 of 3 members".to_owned()),
        ]);
        let check = |query: &str| holds(query, &values).map_or_else(|why| why, |b| b.to_string());
        assert_eq!(check(r#"status=="active" && len(units) == 3"#), "true");
        assert_eq!(check(r#"status=="blocked" || (len(units) >= 2 && workload-message != "")"#), "true");
        assert_eq!(check("len(units) > 3"), "false");
        assert_eq!(check("colour == 3"), "query: unknown name \"colour\"; known: len(units), status, workload-message");
        assert_eq!(check("status == \"x"), "query: a text is not closed");
        assert_eq!(check("status"), "query: ends too early");
    }
}
