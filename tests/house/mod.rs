//! The rules of the house, checked by reading the project's own files: the floors, the form of every source file, and
//! a README whose tables and commands are those of the code.

mod files;
mod floors;
mod metrics;
mod monitoring;
mod paths;
mod readme;
mod security;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::source::SourceFile;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap()
}

/// Every `.rs` file below these folders, in the order of its path.
fn sources(folders: &[&str]) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    for folder in folders {
        let folder = project().join(folder);
        if folder.is_dir() {
            collect(&folder, &mut paths);
        }
    }
    paths.sort();
    let relative = |path: PathBuf| path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(relative).map(|path| SourceFile { text: read(&path), path }).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
