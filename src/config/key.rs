//! The definition of a setting: names, form, default, bounds, help, parser and printer in one value.

use super::meaning::Config;
use super::value::Parsed;

/// The definition of a setting whose value is a `T`.
///
/// `D` is the default: a text, or [`NoDefault`] for a setting that may be absent.
pub struct Key<T: 'static, D = &'static str> {
    /// The environment variable. In lower case it is the key of a configuration file.
    pub env: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// The placeholder of the value in `--help`.
    pub value_name: &'static str,
    /// What a configuration file may hold under this key.
    pub in_file: InFile,
    /// The text whose meaning is in force while the setting is not written.
    pub default: D,
    /// The valid values, for the manual. `A to B` is tested against `parse`.
    pub bounds: &'static str,
    /// The meaning in one line, for `--help` and the manual; without a full stop.
    pub help: &'static str,
    /// Further sentences for the manual alone; may be empty.
    pub more: &'static str,
    /// Reads a text that is not empty. An error completes a sentence that begins with the name of the key.
    pub parse: fn(&str) -> Parsed<T>,
    /// How `check` and the log of a reload print the setting.
    pub shown: Shown,
    /// What a reload does with a new value.
    pub on_reload: OnReload,
}

/// The default of a setting that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDefault;

/// What a configuration file may hold under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFile {
    /// A string, number or boolean.
    Scalar,
    /// A scalar, or an array of scalars.
    List,
    /// Nothing: the key is no key of a file.
    Nothing,
}

/// How `check` and the log of a reload print a setting.
#[derive(Clone, Copy)]
pub enum Shown {
    /// As the text of this function.
    Value(fn(&Config) -> String),
    /// As a summary that does not reveal the secret.
    Secret {
        /// The summary that `check` prints.
        summary: fn(&Config) -> String,
        /// Whether the secrets of two configurations differ.
        differs: fn(&Config, &Config) -> bool,
    },
    /// In the row of another setting, or in the table of upstreams.
    Elsewhere,
}

/// What a reload does with a new value of a setting.
#[derive(Clone, Copy)]
pub enum OnReload {
    /// The running process takes the new value.
    Takes,
    /// Only a new process takes the new value. The function copies the value of the running configuration (first)
    /// into the wanted one (second).
    NeedsRestart(fn(&Config, &mut Config)),
}

/// A group of settings: a heading of `--help`, of the manual and of `check`.
#[derive(Clone, Copy)]
pub struct Section {
    /// The heading in `--help` and in the manual.
    pub heading: &'static str,
    /// The heading in the output of `check`.
    pub heading_in_check: &'static str,
    /// The settings, in the order in which they are listed.
    pub keys: &'static [&'static dyn AnyKey],
}

/// A setting whose type does not matter, for code that handles all settings alike.
pub trait AnyKey {
    /// Everything of the definition except the parser.
    fn about(&self) -> About;

    /// Reads a text without keeping its meaning.
    ///
    /// # Errors
    /// Why the text is not a value of this setting.
    fn judge(&self, text: &str) -> Result<(), String>;
}

/// A definition without its parser. The fields are those of [`Key`].
#[derive(Clone, Copy)]
pub struct About {
    /// See [`Key::env`].
    pub env: &'static str,
    /// See [`Key::flag`].
    pub flag: &'static str,
    /// See [`Key::value_name`].
    pub value_name: &'static str,
    /// See [`Key::in_file`].
    pub in_file: InFile,
    /// See [`Key::default`]. `None`: the setting has no default.
    pub default: Option<&'static str>,
    /// See [`Key::bounds`].
    pub bounds: &'static str,
    /// See [`Key::help`].
    pub help: &'static str,
    /// See [`Key::more`].
    pub more: &'static str,
    /// See [`Key::shown`].
    pub shown: Shown,
    /// See [`Key::on_reload`].
    pub on_reload: OnReload,
}

impl About {
    /// Whether a configuration file may hold this key under the name `name`.
    #[must_use]
    pub fn is_file_key(&self, name: &str) -> bool {
        self.in_file != InFile::Nothing && self.env.to_ascii_lowercase() == name
    }
}

/// A default of a [`Key`]: a text or [`NoDefault`].
pub trait DefaultText: Copy {
    /// The text, if there is one.
    fn text(self) -> Option<&'static str>;
}

impl DefaultText for &'static str {
    fn text(self) -> Option<&'static str> {
        Some(self)
    }
}

impl DefaultText for NoDefault {
    fn text(self) -> Option<&'static str> {
        None
    }
}

impl<T> Key<T> {
    /// The meaning of the default.
    ///
    /// # Panics
    /// If the default is not valid. A test reads the default of every setting.
    pub(super) fn default_value(&self) -> T {
        (self.parse)(self.default).unwrap_or_else(|why| panic!("the default of {} {why}", self.env))
    }
}

impl<T, D: DefaultText> Key<T, D> {
    /// The meaning of a text.
    ///
    /// # Errors
    /// Why the text is not a value of this setting. An empty text never is: it is often a variable of a template
    /// that nobody filled in.
    pub(super) fn read(&self, text: &str) -> Parsed<T> {
        match (text, self.default.text()) {
            ("", Some(default)) => Err(format!("is empty (leave it out for the default, {default})")),
            ("", None) => Err("is empty (leave it out for none)".to_owned()),
            _ => (self.parse)(text),
        }
    }
}

impl<T, D: DefaultText> AnyKey for Key<T, D> {
    fn about(&self) -> About {
        About {
            env: self.env,
            flag: self.flag,
            value_name: self.value_name,
            in_file: self.in_file,
            default: self.default.text(),
            bounds: self.bounds,
            help: self.help,
            more: self.more,
            shown: self.shown,
            on_reload: self.on_reload,
        }
    }

    fn judge(&self, text: &str) -> Result<(), String> {
        self.read(text).map(|_| ())
    }
}
