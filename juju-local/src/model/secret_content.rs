//! What may be in a secret: how keys look, and how much fits.

use super::Content;

/// Keys, and sizes: 8 KiB and 64 KiB until 3.6.8, then a million bytes, counted in base64.
///
/// # Errors
/// Names the key, never the value.
pub fn check_content(content: &Content, large: bool) -> Result<(), String> {
    let size = |value: &String| if large { value.len().div_ceil(3) * 4 } else { value.len() };
    let (value_max, total_max) = if large { (1_000_000, 1_000_000) } else { (8 * 1024, 64 * 1024) };
    for (key, value) in content {
        if !valid_key(key) {
            return Err(format!("key {key:?} not valid"));
        }
        if value.is_empty() {
            return Err(format!("key value {:?} not valid", format!("{key}=")));
        }
        if size(value) > value_max {
            return Err(format!("secret content for key {key:?} too large: {} bytes", size(value)));
        }
    }
    let total: usize = content.values().map(size).sum();
    if total > total_max { Err(format!("secret content too large: {total} bytes")) } else { Ok(()) }
}

/// `^([a-z](?:-?[a-z0-9]){2,})$`
fn valid_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().filter(|c| *c != '-').count() >= 3
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !key.ends_with('-')
        && !key.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let check = |key: &str, value: &str| {
            check_content(&[(key.to_owned(), value.to_owned())].into(), true).err().unwrap_or_default()
        };
        for fine in ["key", "a-key", "key1", "k-e-y"] {
            assert_eq!(check(fine, "x"), "");
        }
        for wrong in ["ke", "Key", "a_key", "1key", "key-", "a--key", ""] {
            assert_eq!(check(wrong, "x"), format!("key {wrong:?} not valid"));
        }
        assert_eq!(check("key", ""), "key value \"key=\" not valid");
    }

    #[test]
    fn sizes() {
        let check = |bytes: usize, count: usize, large: bool| {
            let content = (0..count).map(|i| (format!("key{i}"), "x".repeat(bytes))).collect();
            check_content(&content, large).err().unwrap_or_default()
        };
        assert_eq!(check(8192, 8, false), "");
        assert_eq!(check(8193, 1, false), "secret content for key \"key0\" too large: 8193 bytes");
        assert_eq!(check(8192, 9, false), "secret content too large: 73728 bytes");
        assert_eq!(check(749_997, 1, true), "");
        assert_eq!(check(750_001, 1, true), "secret content for key \"key0\" too large: 1000004 bytes");
        assert_eq!(check(400_000, 2, true), "secret content too large: 1066672 bytes");
    }
}
