//! Flags and environment variables: gives clap an argument for every setting.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::key::About;
use super::keys::process::CONFIG_FILE;
use super::keys::sections;
use super::written::Written;

impl Args for Written {
    fn augment_args(command: Command) -> Command {
        let command = sections::ALL.iter().fold(command, |command, section| {
            let args = section.keys.iter().map(|key| arg(key.about()).help_heading(section.heading));
            command.args(args)
        });
        command.next_help_heading(None)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Written {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut written = Self::default();
        written.update_from_arg_matches(matches)?;
        Ok(written)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for about in sections::all().map(|key| key.about()) {
            if let Some(text) = matches.get_one::<String>(about.env) {
                self.write(about.env, text.clone(), None);
            }
        }
        Ok(())
    }
}

/// The argument of one setting. clap does not know the default, only its help does: a default that clap filled in
/// would win over the file.
fn arg(about: About) -> Arg {
    let arg = Arg::new(about.env)
        .long(about.flag)
        .env(about.env)
        .value_name(about.value_name)
        .help(help(about))
        .hide_env_values(true)
        .global(true);
    // The flag is named after the file; its variable is as valid a guess.
    if about.env == CONFIG_FILE.env { arg.alias("config-file") } else { arg }
}

/// The line of `--help`, without the marks that the manual needs.
fn help(about: About) -> String {
    let help = about.help.replace('`', "");
    match about.default {
        Some(default) => format!("{help} [default: {default}]"),
        None => help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_flag_and_variable() {
        let command = Written::augment_args(Command::new("test"));
        command.clone().debug_assert();
        let args: Vec<_> = command.get_arguments().collect();
        assert_eq!(args.len(), sections::all().count());
        for (arg, about) in args.iter().zip(sections::all().map(|key| key.about())) {
            assert_eq!((arg.get_long(), arg.get_env()), (Some(about.flag), Some(about.env.as_ref())));
            assert!(arg.is_hide_env_values_set() && arg.is_global_set() && arg.get_help_heading().is_some());
            assert!(arg.get_default_values().is_empty(), "a default here would win over the file");
        }
    }
}
