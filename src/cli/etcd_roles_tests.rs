use super::*;

fn arguments() -> Arguments {
    Arguments {
        etcd_directives_key: "osproxy/directives".to_owned(),
        operator_user: "op".to_owned(),
        proxy_user: "px".to_owned(),
        fleet: false,
        passwords: false,
    }
}

/// Runs a script under `sh` with an `etcdctl` that has nobody and says what it is asked; each line is one call.
fn calls(script: &str, env: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let stub = "etcdctl() {\n\
        for word in \"$@\"; do printf '<%s>' \"$word\" >&3; done\n\
        echo >&3\n\
        case \"$2\" in get) return 1 ;; add) [ \"$1\" = role ] || [ -t 0 ] || cat >&3 ;; esac\n\
        }\n";
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("exec 3>&1 < /dev/null\n{stub}{script}")])
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout).lines().map(str::to_owned).collect())
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn the_lines_are_these() {
    let script = script(&arguments()).unwrap();
    assert_eq!(
        calls(&script, &[]).unwrap(),
        [
            "<role><get><op>",
            "<role><add><op>",
            "<role><grant-permission><op><readwrite><osproxy/directives>",
            "<role><grant-permission><op><readwrite><osproxy/directives/owner>",
            "<role><grant-permission><--prefix><op><readwrite><osproxy/directives/leader/>",
            "<role><grant-permission><op><read><osproxy/directives/paused>",
            "<role><grant-permission><op><readwrite><osproxy/directives/window>",
            "<role><grant-permission><--prefix><op><read><osproxy/directives/fleet/>",
            "<user><get><op>",
            "<user><add><--no-password><op>",
            "<user><grant-role><op><op>",
            "<role><get><px>",
            "<role><add><px>",
            "<role><grant-permission><px><read><osproxy/directives>",
            "<user><get><px>",
            "<user><add><--no-password><px>",
            "<user><grant-role><px><px>",
        ]
    );
}

#[test]
fn a_proxy_that_speaks_may_also_write_its_record_and_read_the_window() {
    let fleet = Arguments {
        fleet: true,
        ..arguments()
    };
    let more: Vec<String> = calls(&script(&fleet).unwrap(), &[]).unwrap();
    let less: Vec<String> = calls(&script(&arguments()).unwrap(), &[]).unwrap();
    let only: Vec<&String> = more.iter().filter(|call| !less.contains(call)).collect();
    assert_eq!(
        only,
        [
            "<role><grant-permission><--prefix><px><write><osproxy/directives/fleet/>",
            "<role><grant-permission><px><read><osproxy/directives/window>",
        ]
    );
    assert_eq!(less.len() + only.len(), more.len());
}

#[test]
fn a_shell_takes_every_key_and_user_as_it_is() {
    let odd = Arguments {
        etcd_directives_key: "-a b'c\"$(exit 1)`d`;#é*\\".to_owned(),
        operator_user: "-o p".to_owned(),
        proxy_user: "$HOME:'".to_owned(),
        ..arguments()
    };
    let calls = calls(&script(&odd).unwrap(), &[]).unwrap();
    for call in [
        "<role><add><--><-o p>",
        "<role><grant-permission><--><-o p><readwrite><-a b'c\"$(exit 1)`d`;#é*\\>",
        "<role><grant-permission><--prefix><--><-o p><readwrite><-a b'c\"$(exit 1)`d`;#é*\\/leader/>",
        "<user><add><--no-password><$HOME:'>",
    ] {
        assert!(
            calls.iter().any(|said| said == call),
            "{call} in {calls:#?}"
        );
    }
}

#[test]
fn passwords_go_by_standard_input_and_whole_or_not_at_all() {
    let script = script(&Arguments {
        passwords: true,
        ..arguments()
    })
    .unwrap();
    let with = |operator, proxy| {
        calls(
            &script,
            &[(OPERATOR_PASSWORD, operator), (PROXY_PASSWORD, proxy)],
        )
    };
    let said = with("o'$x", "p\\n%s").unwrap();
    let at = |call: &str| said.iter().position(|said| said == call).unwrap();
    assert_eq!(said[at("<user><add><--interactive=false><op>") + 1], "o'$x");
    assert_eq!(
        said[at("<user><add><--interactive=false><px>") + 1],
        "p\\n%s"
    );
    assert!(with("two words", "p").unwrap_err().contains("blank"));
    assert!(with("o", "").unwrap_err().contains(PROXY_PASSWORD));
}

#[test]
fn what_would_give_more_than_is_said_is_refused() {
    let with = |operator: &str, proxy: &str, passwords| {
        script(&Arguments {
            operator_user: operator.to_owned(),
            proxy_user: proxy.to_owned(),
            passwords,
            ..arguments()
        })
        .err()
        .map(|error| error.to_string())
    };
    for (operator, proxy, passwords, word) in [
        ("same", "same", false, "rights of both"),
        ("root", "px", false, "root"),
        ("op", "", false, "--proxy-user is empty"),
        ("op", "a\nb", false, "control character"),
        ("a:b", "px", true, "colon"),
    ] {
        let said = with(operator, proxy, passwords).unwrap();
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(with("a:b", "px", false), None);
}

#[test]
fn the_suffixes_are_the_keys_names() {
    let keys = Keys::new("k").unwrap();
    let known = OPERATOR.iter().map(|grant| format!("k{}", grant.suffix));
    let known: Vec<String> = known.collect();
    let election = format!("{}/", keys.election());
    for key in [keys.document(), &keys.owner(), &election, &keys.paused()] {
        assert!(known.iter().any(|known| known == key), "{key}");
    }
}
