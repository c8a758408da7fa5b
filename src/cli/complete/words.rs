//! What may stand where the last word of a command line is being typed: a function of the words and of what the commands take.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// A word, and what it is; empty where there is nothing to say.
pub(super) type Candidate = (String, String);

/// What may stand there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of these, or nothing that is known.
    Words(Vec<Candidate>),
    /// A file, which the shell knows best.
    File,
    /// The name of a directive that begins as is typed, and is none of these. The flags say on which server, and in which namespace.
    Directive {
        flags: Vec<String>,
        except: Vec<String>,
        typed: String,
    },
}

/// As cobra's `__complete` prints it: a candidate a line, and a colon with what the shell shall do besides.
pub(super) fn printed(candidates: &[Candidate], files: bool) -> String {
    let mut out = String::new();
    for (word, what) in candidates {
        let tab = if what.is_empty() { "" } else { "\t" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{word}{tab}{what}");
    }
    // ShellCompDirectiveDefault, where files are what the shell completes; or ShellCompDirectiveNoFileComp.
    out + if files { ":0\n" } else { ":4\n" }
}

/// What is wanted behind `words`, the last of which is being typed. `server` has the flags that say which server is meant.
pub(super) fn wanted(command: &Command, server: &Command, words: &[String]) -> Wanted {
    let Some((typed, before)) = words.split_last() else {
        return Wanted::Words(Vec::new());
    };
    let mut read = Read::new(command, server);
    for word in before {
        read.word(word);
    }
    read.last(typed)
}

/// What has been read.
struct Read<'c> {
    command: &'c Command,
    server: &'c Command,
    /// The flag whose value comes next.
    open: Option<&'c Arg>,
    /// Whether `--` has come, behind which nothing is a flag.
    only_operands: bool,
    operands: Vec<String>,
    /// Flags of `server`, with their values.
    flags: Vec<String>,
}

impl<'c> Read<'c> {
    fn new(command: &'c Command, server: &'c Command) -> Self {
        Self {
            command,
            server,
            open: None,
            only_operands: false,
            operands: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn word(&mut self, word: &str) {
        if let Some(flag) = self.open.take() {
            self.keep(flag, word);
        } else if self.only_operands {
            self.operands.push(word.to_owned());
        } else if word == "--" {
            self.only_operands = true;
        } else if word.starts_with('-') {
            if let Some((flag, value)) = flag(self.command, word) {
                self.keep(flag, word);
                self.open = Some(flag).filter(|flag| takes_value(flag) && value.is_none());
            }
        } else if let Some(sub) = self.command.find_subcommand(word) {
            self.command = sub;
        } else {
            self.operands.push(word.to_owned());
        }
    }

    fn keep(&mut self, flag: &Arg, word: &str) {
        let mut known = self.server.get_arguments();
        if known.any(|known| known.get_id() == flag.get_id()) {
            self.flags.push(word.to_owned());
        }
    }

    fn last(self, typed: &str) -> Wanted {
        if let Some(flag) = self.open {
            return self.value(flag, typed);
        }
        if typed.starts_with('-') && !self.only_operands {
            // Of a flag with its value the shell replaces only what is behind the sign.
            return match flag(self.command, typed) {
                Some((flag, Some(value))) => self.value(flag, value),
                _ => self.flags(typed),
            };
        }
        if self.command.has_subcommands() {
            let known = self
                .command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set());
            let known = known.map(|sub| (sub.get_name().to_owned(), line(sub.get_about())));
            return Wanted::Words(known.filter(|(name, _)| name.starts_with(typed)).collect());
        }
        let mut operands = self.command.get_positionals();
        let many = |operand: &&Arg| matches!(operand.get_action(), ArgAction::Append);
        let operand = operands.nth(self.operands.len());
        match operand.or_else(|| self.command.get_positionals().last().filter(many)) {
            Some(operand) => self.value(operand, typed),
            None => Wanted::Words(Vec::new()),
        }
    }

    fn value(self, arg: &Arg, typed: &str) -> Wanted {
        // What `on` takes is a new name.
        let names_one = matches!(self.command.get_name(), "extend" | "off" | "wait");
        if arg.is_positional() && names_one {
            return Wanted::Directive {
                flags: self.flags,
                except: self.operands,
                typed: typed.to_owned(),
            };
        }
        let is_file = |names: &[clap::builder::Str]| names.iter().any(|name| name == "FILE");
        if arg.get_value_names().is_some_and(is_file) {
            return Wanted::File;
        }
        let values = arg.get_possible_values().into_iter();
        let values =
            values.filter(|value| !value.is_hide_set() && value.get_name().starts_with(typed));
        let values = values.map(|value| (value.get_name().to_owned(), line(value.get_help())));
        Wanted::Words(values.collect())
    }

    fn flags(&self, typed: &str) -> Wanted {
        let known = self
            .command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set());
        let known =
            known.filter_map(|arg| Some((format!("--{}", arg.get_long()?), line(arg.get_help()))));
        Wanted::Words(known.filter(|(name, _)| name.starts_with(typed)).collect())
    }
}

/// The flag that a word names, and its value where that is in the same word.
fn flag<'c, 'w>(command: &'c Command, word: &'w str) -> Option<(&'c Arg, Option<&'w str>)> {
    let mut known = command.get_arguments();
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        return known
            .find(|arg| arg.get_long() == Some(name))
            .map(|arg| (arg, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let first = letters.next()?;
    let value = Some(letters.as_str()).filter(|value| !value.is_empty());
    let found = known.find(|arg| arg.get_short() == Some(first))?;
    Some((found, value.map(|value| value.trim_start_matches('='))))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The first line of a text.
fn line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;
    use crate::cli::kube::KubeArguments;

    fn asked(words: &[&str]) -> Wanted {
        let mut command = Cli::command();
        command.build();
        let server = KubeArguments::augment_args(Command::new("server"));
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        wanted(&command, &server, &words)
    }

    fn names(words: &[&str]) -> Vec<String> {
        match asked(words) {
            Wanted::Words(found) => found.into_iter().map(|(name, _)| name).collect(),
            other => panic!("{words:?} are {other:?}"),
        }
    }

    #[test]
    fn commands_are_offered_but_those_that_are_for_nobody() {
        assert_eq!(names(&["st"]), ["status"]);
        assert_eq!(names(&["o"]), ["off", "on", "operator"]);
        let all = names(&[""]);
        assert!(!all.contains(&"probe".to_owned()) && !all.contains(&"__complete".to_owned()));
        assert_eq!(names(&["nothing", "x"]), [""; 0]);
    }

    #[test]
    fn flags_are_those_of_the_command() {
        assert_eq!(names(&["status", "--w"]), ["--watch"]);
        assert_eq!(
            names(&["status", "-n", "ns", "--all"]),
            ["--all-namespaces"]
        );
        assert_eq!(names(&["on", "--ring"]), ["--ring-buffer"]);
        assert_eq!(names(&["on", "--", "--ring"]), [""; 0]);
    }

    #[test]
    fn a_value_is_one_of_those_that_the_flag_takes() {
        assert_eq!(names(&["status", "-o", "j"]), ["json"]);
        assert_eq!(
            names(&["status", "--output", ""]),
            ["text", "wide", "json", "yaml"]
        );
        // The shell puts the flag before it again.
        assert_eq!(names(&["status", "--output=y"]), ["yaml"]);
        assert_eq!(names(&["on", "--level", "ShapeT"]), ["ShapeTiming"]);
        assert_eq!(names(&["crd", "f"]), ["fleet"]);
        assert_eq!(names(&["on", "--tenant", ""]), [""; 0]);
        assert_eq!(asked(&["status", "--kubeconfig", ""]), Wanted::File);
        assert_eq!(asked(&["validate", "-f", "x"]), Wanted::File);
    }

    #[test]
    fn what_is_changed_is_a_directive_of_the_namespace_that_was_named() {
        let directive = |flags: &[&str], except: &[&str]| Wanted::Directive {
            flags: flags.iter().map(|&word| word.to_owned()).collect(),
            except: except.iter().map(|&word| word.to_owned()).collect(),
            typed: "inc".to_owned(),
        };
        assert_eq!(asked(&["extend", "inc"]), directive(&[], &[]));
        assert_eq!(
            asked(&["off", "--delete", "-n", "ops", "--context=blue", "a", "inc"]),
            directive(&["-n", "ops", "--context=blue"], &["a"])
        );
        assert_eq!(names(&["wait", "a", "inc"]), [""; 0]);
        // A new one has a new name.
        assert_eq!(names(&["on", "inc"]), [""; 0]);
    }

    #[test]
    fn it_is_printed_as_cobra_would() {
        let found = [
            ("json".to_owned(), "For machines".to_owned()),
            ("x".to_owned(), String::new()),
        ];
        assert_eq!(printed(&found, false), "json\tFor machines\nx\n:4\n");
        assert_eq!(printed(&[], true), ":0\n");
    }
}
