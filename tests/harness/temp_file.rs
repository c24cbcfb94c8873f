//! A file of a test.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A file in the temporary directory, removed when it is dropped.
pub struct TempFile(pub PathBuf);

impl TempFile {
    pub fn new(name: &str, contents: impl AsRef<[u8]>) -> TempFile {
        let path = std::env::temp_dir().join(format!("realchat-it-{}-{name}", std::process::id()));
        fs::write(&path, contents).expect("a temporary file");
        TempFile(path)
    }

    pub fn set(name: &str, keys: &[Value]) -> TempFile {
        Self::new(name, json!({ "keys": keys }).to_string())
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
