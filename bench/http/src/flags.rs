//! What was written on the command line: `--name value`.

use std::str::FromStr;

pub struct Flags(Vec<(String, String)>);

impl Flags {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Vec::new();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
            flags.push((name, value));
        }
        Ok(Self(flags))
    }

    /// The flag's value. Given twice, the second stays and is told by `done`.
    pub fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name}: {value:?} is not such a value"))
    }

    /// The values of a flag that may be given any number of times.
    pub fn take_all(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        while let Some(value) = self.take(name)? {
            values.push(value);
        }
        Ok(values)
    }

    pub fn done(&self, usage: &str) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("{name} is unknown, or given twice\n{usage}")))
    }
}
