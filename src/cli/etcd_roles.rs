//! `osproxy-directives etcd-roles`: prints the `etcdctl` lines that give both ends of a key their rights, and no more.
//!
//! Nothing is connected to. What each right is for, and what each role is refused, stands in docs/etcd-rights.md, which
//! `tests/etcd_rights.rs` holds against a real etcd.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::Args;

use super::exit::{self, Failure};
use crate::etcd::Keys;

/// Print the etcdctl lines that give the operator and the proxies their rights on a key, and no more.
///
/// A script for a shell; nothing is connected to. What each right is for stands beside it.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The key that the proxies read their directives from.
    #[arg(
        long,
        env = "OSPROXY_ETCD_DIRECTIVES_KEY",
        value_name = "KEY",
        default_value = "osproxy/directives"
    )]
    etcd_directives_key: String,

    /// The operator's user, and its role: for a login by certificate, the common name (CN) of the certificate.
    #[arg(long, value_name = "USER", default_value = "osproxy-operator")]
    operator_user: String,

    /// The proxies' user, and its role: for a login by certificate, the common name (CN) of the certificate.
    #[arg(long, value_name = "USER", default_value = "osproxy-proxy")]
    proxy_user: String,

    /// Let the proxies say what they have applied: write below `<key>/fleet/`, read `<key>/window`.
    #[arg(long)]
    fleet: bool,

    /// Make users that log in with a password, which the script takes from `OSPROXY_OPERATOR_PASSWORD` and
    /// `OSPROXY_PROXY_PASSWORD`. Without it they have none, and log in by certificate alone.
    #[arg(long)]
    passwords: bool,
}

/// Prints the lines to standard output.
///
/// # Errors
/// Where key or users cannot be used, or standard output cannot be written to.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let script = script(arguments)?;
    io::stdout().lock().write_all(script.as_bytes())?;
    Ok(exit::YES)
}

/// A right on one key, or on all that begin alike.
#[derive(Clone, Copy, Debug)]
struct Grant {
    /// etcd's word for it: `read`, `write` or `readwrite`.
    permission: &'static str,
    /// What follows the directives key. With a slash at its end, everything that begins so.
    suffix: &'static str,
    why: &'static str,
}

/// Each key by itself: with the prefix `<key>/` the operator could put or delete the pause, which is a person's word, and
/// speak for proxies.
const OPERATOR: &[Grant] = &[
    Grant {
        permission: "readwrite",
        suffix: "",
        why: "the document",
    },
    Grant {
        permission: "readwrite",
        suffix: "/owner",
        why: "whose key it is",
    },
    Grant {
        permission: "readwrite",
        suffix: "/leader/",
        why: "the election",
    },
    Grant {
        permission: "read",
        suffix: "/paused",
        why: "a person's word, which only people give and take back",
    },
    Grant {
        permission: "readwrite",
        suffix: "/window",
        why: "how far apart proxies speak",
    },
    Grant {
        permission: "read",
        suffix: "/fleet/",
        why: "what proxies say",
    },
];

const PROXY: &[Grant] = &[Grant {
    permission: "read",
    suffix: "",
    why: "the document",
}];

/// What a proxy that speaks needs besides.
const FLEET: &[Grant] = &[
    Grant {
        permission: "write",
        suffix: "/fleet/",
        why: "what it says",
    },
    Grant {
        permission: "read",
        suffix: "/window",
        why: "how far apart proxies speak",
    },
];

fn script(arguments: &Arguments) -> Result<String, Failure> {
    let keys = Keys::new(&arguments.etcd_directives_key);
    let keys = keys.map_err(|error| Failure::cannot(error.to_string()))?;
    let (operator, proxy) = (&arguments.operator_user, &arguments.proxy_user);
    for (flag, user) in [("--operator-user", operator), ("--proxy-user", proxy)] {
        usable(flag, user, arguments.passwords)?;
    }
    if operator == proxy {
        return Err(Failure::cannot(format!(
            "--operator-user and --proxy-user are both `{operator}`: one user would have the rights of both"
        ))
        .hint("give each its own"));
    }
    let mut text = format!(
        "#!/bin/sh\n\
         # The rights of osproxy-directives on the key {}, by `osproxy-directives etcd-roles`.\n\
         # Where etcd is and who you are there, say as to any etcdctl: ETCDCTL_ENDPOINTS, ETCDCTL_CACERT,\n\
         # ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER. It takes etcd's root once auth is enabled; until then nothing\n\
         # here keeps anybody out. To be run again as often as you like: it adds, and takes nothing away.\n\
         set -eu\n",
        keys.document()
    );
    let variables = [OPERATOR_PASSWORD, PROXY_PASSWORD];
    if arguments.passwords {
        text.push_str(PASSWORDS);
    }
    let [of_operator, of_proxy] = variables.map(|name| arguments.passwords.then_some(name));
    role(&mut text, &keys, "operator", operator, OPERATOR.iter());
    account(&mut text, operator, of_operator);
    let fleet = if arguments.fleet { FLEET } else { &[] };
    role(
        &mut text,
        &keys,
        "proxies",
        proxy,
        PROXY.iter().chain(fleet),
    );
    account(&mut text, proxy, of_proxy);
    Ok(text)
}

const OPERATOR_PASSWORD: &str = "OSPROXY_OPERATOR_PASSWORD";
const PROXY_PASSWORD: &str = "OSPROXY_PROXY_PASSWORD";

/// etcdctl reads a password up to the first blank, and would set the rest aside without a word.
const PASSWORDS: &str = "\
: \"${OSPROXY_OPERATOR_PASSWORD:?has to hold what the operator logs in with}\"
: \"${OSPROXY_PROXY_PASSWORD:?has to hold what the proxies log in with}\"
case $OSPROXY_OPERATOR_PASSWORD$OSPROXY_PROXY_PASSWORD in
*[[:space:]]*)
    echo 'etcdctl takes no password with a blank in it' >&2
    exit 1
    ;;
esac
";

fn usable(flag: &str, user: &str, passwords: bool) -> Result<(), Failure> {
    let allowed = "allowed is any other text without control characters, such as osproxy-operator";
    let (wrong, hint) = if user.is_empty() {
        ("is empty".to_owned(), allowed)
    } else if user.chars().any(char::is_control) {
        ("holds a control character".to_owned(), allowed)
    } else if user == "root" {
        let why = "is `root`, whose role may do everything in etcd, whatever it is granted";
        (why.to_owned(), allowed)
    } else if passwords && user.contains(':') {
        let why = "holds a colon, and etcdctl takes what follows one for the password";
        (
            format!("`{user}` {why}"),
            "choose another name, or leave --passwords out",
        )
    } else {
        return Ok(());
    };
    Err(Failure::cannot(format!("{flag} {wrong}")).hint(hint))
}

fn role<'g>(
    text: &mut String,
    keys: &Keys,
    whose: &str,
    role: &str,
    grants: impl Iterator<Item = &'g Grant>,
) {
    let get = command("role get", &[], &[role]);
    let add = command("role add", &[], &[role]);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n# The {whose}.\n{get} > /dev/null 2>&1 || {add}");
    for grant in grants {
        let key = format!("{}{}", keys.document(), grant.suffix);
        let options: &[&str] = if grant.suffix.ends_with('/') {
            &["--prefix"]
        } else {
            &[]
        };
        let operands = [role, grant.permission, &key];
        let line = command("role grant-permission", options, &operands);
        let _ = writeln!(text, "{line} # {}", grant.why);
    }
}

fn account(text: &mut String, user: &str, password: Option<&str>) {
    let get = command("user get", &[], &[user]);
    let add = match password {
        None => command("user add", &["--no-password"], &[user]),
        Some(variable) => {
            let add = command("user add", &["--interactive=false"], &[user]);
            format!("printf '%s\\n' \"${variable}\" | {add}")
        }
    };
    let grant = command("user grant-role", &[], &[user, user]);
    let _ = writeln!(text, "{get} > /dev/null 2>&1 || {add}\n{grant}");
}

/// One call of etcdctl, as a shell takes it.
fn command(verb: &str, options: &[&str], operands: &[&str]) -> String {
    let mut line = format!("etcdctl {verb}");
    let mut add = |word: &str| {
        line.push(' ');
        line.push_str(word);
    };
    for option in options {
        add(option);
    }
    // What begins like an option would be taken for one.
    if operands.iter().any(|operand| operand.starts_with('-')) {
        add("--");
    }
    for operand in operands {
        add(&quoted(operand));
    }
    line
}

/// A word of a shell that means itself.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[path = "etcd_roles_tests.rs"]
mod tests;
