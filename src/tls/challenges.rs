//! The challenges of a certificate authority (RFC 8555 §8.3, `http-01`): files that a program like certbot writes into
//! a folder, and that the authority then asks for.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::config::read_file;
use crate::limits::{CHALLENGE_BYTES_MAX, CHALLENGE_TOKEN_BYTES_MAX, CHALLENGES_MAX};

/// The files of the folder, by their names. It is immutable: other files make another one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Challenges(HashMap<Box<[u8]>, Box<[u8]>>);

impl Challenges {
    /// Reads the folder. What is not a file with a token for a name and of a challenge's size is left out, links
    /// too: a link could lead anywhere. A folder that is not there has no files; certbot makes it and takes it
    /// away. Blocks.
    pub fn read(folder: &Path) -> Challenges {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let name = entry.file_name().into_encoded_bytes();
            let metadata = entry.metadata().ok()?;
            let is_small = metadata.is_file() && metadata.len() <= CHALLENGE_BYTES_MAX as u64;
            let bytes = (is_token(&name) && is_small).then(|| read_file(&entry.path()).ok()).flatten()?;
            (bytes.len() <= CHALLENGE_BYTES_MAX).then(|| (name.into(), bytes.into()))
        });
        Challenges(found.take(CHALLENGES_MAX).collect())
    }

    /// The file of a token.
    pub fn find(&self, token: &[u8]) -> Option<&[u8]> {
        self.0.get(token).map(|bytes| &**bytes)
    }
}

/// The token of a path, if it is one of a challenge.
pub fn token(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(PATH).filter(|token| is_token(token))
}

/// RFC 8555 §8.3: characters of base64url alone.
fn is_token(name: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    (1..=CHALLENGE_TOKEN_BYTES_MAX).contains(&name.len()) && name.iter().all(is_allowed)
}

const PATH: &[u8] = b"/.well-known/acme-challenge/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_segment_of_its_alphabet() {
        assert_eq!(token(b"/.well-known/acme-challenge/a-B_9"), Some(&b"a-B_9"[..]));
        let long = [PATH, &[b'a'; CHALLENGE_TOKEN_BYTES_MAX + 1]].concat();
        for path in [
            &b"/.well-known/acme-challenge/"[..],
            b"/.well-known/acme-challenge",
            b"/.well-known/acme-challenge/a/b",
            b"/.well-known/acme-challenge/a.b",
            b"/.well-known/acme-challenge/%61",
            b"/x/.well-known/acme-challenge/a",
            &long,
        ] {
            assert_eq!(token(path), None);
        }
    }

    #[test]
    fn only_small_files_with_a_token_for_a_name_are_read() {
        let folder = std::env::temp_dir().join(format!("realchat-challenges-{}", std::process::id()));
        assert_eq!(Challenges::read(&folder), Challenges::default());
        fs::create_dir(&folder).expect("a new folder");
        let write =
            |name: &str, length: usize| fs::write(folder.join(name), vec![b'x'; length]).expect("a file");
        write("token", 3);
        write(".hidden", 3);
        write("a.txt", 3);
        write("large", CHALLENGE_BYTES_MAX + 1);
        fs::create_dir(folder.join("folder")).expect("a folder");
        std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).expect("a link");
        let challenges = Challenges::read(&folder);
        (0..CHALLENGES_MAX + 9).for_each(|nth| write(&format!("t{nth}"), 1));
        let many = Challenges::read(&folder);
        fs::remove_dir_all(&folder).expect("our own folder");
        assert_eq!(challenges.find(b"token"), Some(&b"xxx"[..]));
        assert_eq!((challenges.0.len(), many.0.len()), (1, CHALLENGES_MAX));
    }
}
