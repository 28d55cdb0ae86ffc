//! Files that a model's directory keeps for its applications: charms' archives and what was given for their resources.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{MutexGuard, PoisonError};

use super::Controller;
use crate::model::State;

/// Held while files are written that nothing in the model names yet. At its end, what nothing names goes.
pub(super) struct Keeping<'a> {
    controller: &'a Controller,
    _alone: MutexGuard<'a, ()>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(controller: &'a Controller) -> Self {
        Self { controller, _alone: controller.keeping.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        let named = self.controller.read(named);
        for folder in ["charms", "resources"] {
            let Ok(entries) = fs::read_dir(self.controller.dir.join(folder)) else {
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                if !named.contains(&*entry.file_name().to_string_lossy()) {
                    // What stays is tried again the next time; a unit that reads it at this moment has it open.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// Removes the files of applications that have gone.
pub(crate) fn sweep(controller: &Controller) {
    drop(Keeping::new(controller));
}

fn named(state: &State) -> BTreeSet<String> {
    let of = |app: &crate::model::Application| {
        let resources = app.resources.values().map(|resource| resource.file.clone());
        resources.chain([app.archive.clone()]).collect::<Vec<_>>()
    };
    state.applications.values().flat_map(of).collect()
}
