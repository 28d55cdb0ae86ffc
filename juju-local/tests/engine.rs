//! The engine without machines: stories of commands with the hooks that ran underneath, in `tests/engine/*.txt`, rewritten
//! by `UPDATE_EXPECT=1`. Whether a hook of theirs fails, and what happens while it runs, the stories say.
#![allow(clippy::unwrap_used, clippy::allow_attributes, reason = "a test that panics has failed, which is its purpose")]

#[path = "engine/words.rs"]
mod words;
#[path = "engine/world.rs"]
mod world;

use expect_test::expect_file;
use world::World;

/// Runs a story's commands, and writes what they say under them.
fn told(story: &str) -> String {
    let mut world = World::default();
    let mut text = String::new();
    for line in story.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            text.push_str(&format!("{line}\n"));
            for said in world.obey(command) {
                text.push_str(&format!("{said}\n"));
            }
        } else if line.starts_with('#') || line.is_empty() {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

#[test]
fn stories() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let story = std::fs::read_to_string(&file).unwrap();
        expect_file![&file].assert_eq(&told(&story));
    }
}
