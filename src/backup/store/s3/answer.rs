//! What an S3 server answers, read from its XML: whatever namespace it uses, and whatever else it says.

use roxmltree::{Document, Node};

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// What to ask for the next page with.
    pub(super) next: Option<String>,
}

/// An object in a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) bytes: u64,
    pub(super) modified: String,
}

/// One page of uploads that were begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// Key, id, and when it began.
    pub(super) uploads: Vec<(String, String, String)>,
    /// The key and the id that the next page comes after.
    pub(super) next: Option<(String, String)>,
}

/// An error in the server's words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// A listing (version 2).
pub(super) fn listing(text: &str) -> Result<Page, String> {
    let document = parse(text, "ListBucketResult")?;
    let root = document.root_element();
    let encoded = child(root, "EncodingType").is_some_and(|kind| kind == "url");
    let entries = children(root, "Contents").map(|node| {
        let key = child(node, "Key").ok_or("it lists an object without a name")?;
        let bytes = child(node, "Size").and_then(|size| size.trim().parse().ok());
        Ok(Entry {
            key: if encoded { decoded(&key) } else { key },
            bytes: bytes.ok_or("it lists an object without a size")?,
            modified: child(node, "LastModified").unwrap_or_default(),
        })
    });
    let entries = entries.collect::<Result<_, &str>>()?;
    let more = child(root, "IsTruncated").is_some_and(|text| text.trim() == "true");
    let next = child(root, "NextContinuationToken").filter(|token| more && !token.is_empty());
    if more && next.is_none() {
        return Err("it lists a part and does not say how to ask for the rest".to_owned());
    }
    Ok(Page { entries, next })
}

/// A listing of uploads.
pub(super) fn uploads(text: &str) -> Result<Begun, String> {
    let document = parse(text, "ListMultipartUploadsResult")?;
    let root = document.root_element();
    let uploads = children(root, "Upload").filter_map(|node| {
        Some((child(node, "Key")?, child(node, "UploadId")?, child(node, "Initiated").unwrap_or_default()))
    });
    let uploads = uploads.collect();
    let more = child(root, "IsTruncated").is_some_and(|text| text.trim() == "true");
    let next = child(root, "NextKeyMarker").filter(|key| more && !key.is_empty());
    Ok(Begun { uploads, next: next.map(|key| (key, child(root, "NextUploadIdMarker").unwrap_or_default())) })
}

/// The id of an upload that was begun.
pub(super) fn upload_id(text: &str) -> Result<String, String> {
    let document = parse(text, "InitiateMultipartUploadResult")?;
    let id = child(document.root_element(), "UploadId").filter(|id| !id.is_empty());
    id.ok_or_else(|| "it begins an upload and gives it no id".to_owned())
}

/// The error that a text is; `None` when it is something else.
pub(super) fn complaint(text: &str) -> Option<Complaint> {
    let document = parse(text, "Error").ok()?;
    let root = document.root_element();
    let said = |name| child(root, name).filter(|text| !text.is_empty());
    Some(Complaint {
        code: said("Code").unwrap_or_default(),
        message: said("Message").unwrap_or_default(),
        region: said("Region"),
        endpoint: said("Endpoint"),
    })
}

fn parse<'a>(text: &'a str, expected: &str) -> Result<Document<'a>, String> {
    // The parser's own error quotes the text; who reads it later cannot use that.
    let document = Document::parse(text.trim_start()).map_err(|_| "its answer is no XML".to_owned())?;
    if document.root_element().tag_name().name() == expected {
        return Ok(document);
    }
    Err(format!("its answer is another than {expected}"))
}

fn children<'a>(node: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn child(node: Node<'_, '_>, name: &str) -> Option<String> {
    let found = node.children().find(|child| child.tag_name().name() == name)?;
    Some(found.text().unwrap_or_default().to_owned())
}

/// `encoding-type=url`, where a space may be a plus.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            plain.push(byte);
            at += 3;
        } else {
            plain.push(if byte == b'+' { b' ' } else { byte });
            at += 1;
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_names_decoded() {
        let text = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t=/+</NextContinuationToken>\
            <Contents><Key>db/2026-11-22T07%3A28%3A34Z/a+b%2Bc%20%C3%A4</Key><Size>7</Size>\
            <LastModified>2026-11-22T07:30:00.000Z</LastModified><ETag>\"x\"</ETag></Contents></ListBucketResult>";
        let entry = Entry {
            key: "db/2026-11-22T07:28:34Z/a b+c ä".to_owned(),
            bytes: 7,
            modified: "2026-11-22T07:30:00.000Z".to_owned(),
        };
        assert_eq!(listing(text), Ok(Page { entries: vec![entry], next: Some("t=/+".to_owned()) }));
        let end = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(listing(end), Ok(Page { entries: vec![], next: None }));
        assert!(listing("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").is_err());
        assert!(listing("<html>").is_err() && listing("<html/>").is_err() && listing("").is_err());
    }

    #[test]
    fn an_error_is_one_whatever_its_namespace() {
        let said = complaint("<Error><Code>NoSuchKey</Code><Message>m &amp; n</Message></Error>").unwrap();
        assert_eq!((said.code.as_str(), said.message.as_str()), ("NoSuchKey", "m & n"));
        let said = complaint("<e:Error xmlns:e='x'><e:Code>A</e:Code><e:Region>eu</e:Region></e:Error>").unwrap();
        assert_eq!((said.code.as_str(), said.region.as_deref()), ("A", Some("eu")));
        assert_eq!(complaint("<CompleteMultipartUploadResult/>"), None);
        assert_eq!(complaint("502 Bad Gateway"), None);
    }

    #[test]
    fn uploads_are_read_page_by_page() {
        let text = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
            <NextUploadIdMarker>u</NextUploadIdMarker><Upload><Key>k</Key><UploadId>u</UploadId>\
            <Initiated>2026-11-22T07:30:00Z</Initiated></Upload></ListMultipartUploadsResult>";
        let begun = uploads(text).unwrap();
        assert_eq!(begun.uploads, [("k".to_owned(), "u".to_owned(), "2026-11-22T07:30:00Z".to_owned())]);
        assert_eq!(begun.next, Some(("k".to_owned(), "u".to_owned())));
    }
}
