//! Lua scripts as Redis commands. The `redis` crate computes its hash and packs the commands.

use std::cell::RefCell;

use redis::Cmd;

use super::slots;

/// One Lua script.
pub struct Script {
    text: &'static str,
    hash: String,
    /// Reused, so that packing a command does not allocate.
    command: RefCell<Cmd>,
}

/// The scripts of one client. The first is the one that tries out a new connection, and that is loaded with it; the
/// others are loaded when they are needed.
pub struct Scripts(Box<[Script]>);

impl Scripts {
    /// Computes their hashes.
    pub fn new(texts: &[&'static str]) -> Scripts {
        Scripts(texts.iter().map(|text| Script::new(text)).collect())
    }

    /// The one at this place.
    pub(super) fn at(&self, nth: usize) -> &Script {
        &self.0[nth]
    }
}

/// One argument of a call.
#[derive(Debug, Clone, Copy)]
pub enum Arg<'a> {
    /// A number.
    Number(u64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// Takes the keys and arguments of one call and packs them at once.
pub struct CallWriter<'w>(Writing<'w>);

enum Writing<'w> {
    /// The command behind those that leave next.
    Command(&'w Script, &'w mut Vec<u8>),
    /// The slot of the first key alone.
    Slot(&'w mut u16),
}

impl Script {
    /// Computes the script's hash.
    pub fn new(text: &'static str) -> Script {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Script { text, hash, command: RefCell::default() }
    }

    /// Appends `EVALSHA hash count keys… args…`.
    pub fn pack_call<'a>(&self, keys: &[&[u8]], args: impl Iterator<Item = Arg<'a>>, out: &mut Vec<u8>) {
        let mut command = self.command.borrow_mut();
        command.clear();
        command.arg("EVALSHA").arg(self.hash.as_str()).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        for arg in args {
            match arg {
                Arg::Number(number) => command.arg(number),
                Arg::Bytes(bytes) => command.arg(bytes),
            };
        }
        command.write_packed_command(out);
    }

    /// Appends `SCRIPT LOAD text`.
    pub(super) fn pack_load(&self, out: &mut Vec<u8>) {
        redis::cmd("SCRIPT").arg("LOAD").arg(self.text).write_packed_command(out);
    }
}

impl<'w> CallWriter<'w> {
    pub(super) fn new(script: &'w Script, out: &'w mut Vec<u8>) -> CallWriter<'w> {
        CallWriter(Writing::Command(script, out))
    }

    /// The slot of a call.
    pub(super) fn slot(write: &impl Fn(CallWriter<'_>)) -> u16 {
        let mut slot = 0;
        write(CallWriter(Writing::Slot(&mut slot)));
        slot
    }

    /// Appends the call to the commands that leave next. In a cluster all keys are in one slot.
    pub fn write(self, keys: &[&[u8]], args: &[u64]) {
        self.write_args(keys, args.iter().map(|number| Arg::Number(*number)));
    }

    /// The same with arguments that are not all numbers.
    pub fn write_args<'a>(self, keys: &[&[u8]], args: impl Iterator<Item = Arg<'a>>) {
        match self.0 {
            Writing::Command(script, out) => script.pack_call(keys, args, out),
            Writing::Slot(slot) => *slot = keys.first().map_or(0, |key| slots::slot(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_the_script_by_its_hash() {
        let script = Script::new("return {1}");
        let mut out = b"before".to_vec();
        script.pack_call(&[b"rl:u:a b", b"k"], [Arg::Number(10), Arg::Bytes(b"\r\n")].into_iter(), &mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            "before*7\\r\\n$7\\r\\nEVALSHA\\r\\n$40\\r\\n9c8545b8579e405965831fc6d1e3d0b3ac248d51\\r\\n$1\\r\\n2\\r\\n\
             $8\\r\\nrl:u:a b\\r\\n$1\\r\\nk\\r\\n$2\\r\\n10\\r\\n$2\\r\\n\\r\\n\\r\\n"
        );
    }
}
