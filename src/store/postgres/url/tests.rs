//! URLs and what is read from them. The environment of the tests' process is not read, save by sqlx.

use sqlx::postgres::PgSslMode;

use super::*;

fn target(url: &str) -> Target {
    read(url, |_| None).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[track_caller]
fn refusal(url: &str) -> String {
    read(url, |_| None).err().unwrap_or_else(|| panic!("{url} is accepted")).to_string()
}

/// Host or socket's folder, and port, of each.
fn places(target: &Target) -> Vec<(String, u16)> {
    let host = |options: &PgConnectOptions| match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    target.hosts.iter().map(|options| (host(options), options.get_port())).collect()
}

/// What sqlx takes where nothing is said.
fn usual() -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
}

#[test]
fn hosts_are_read_as_libpq_reads_them() {
    let (host, port) = (usual().get_host().to_owned(), usual().get_port());
    for (url, expected) in [
        ("postgres://h:6000/d", vec![("h", 6000)]),
        ("postgresql://h/d", vec![("h", port)]),
        ("postgres://", vec![(host.as_str(), port)]),
        ("postgres:///d", vec![(&host, port)]),
        ("postgres://u@:6000/d", vec![(&host, 6000)]),
        ("postgres://u@h", vec![("h", port)]),
        ("postgres://u@[::1]:6000/d", vec![("::1", 6000)]),
        ("postgres://u@[2001:db8::7]/d", vec![("2001:db8::7", port)]),
        ("postgres://u@[fe80::1%25eth0]/d", vec![("fe80::1%eth0", port)]),
        ("postgres://u@%3A%3A1:6000/d", vec![("::1", 6000)]),
        ("postgres://u@/d?host=/var/run/postgresql", vec![("/var/run/postgresql", port)]),
        ("postgres://u@%2Fvar%2Frun%2Fpostgresql:6000/d", vec![("/var/run/postgresql", 6000)]),
        ("postgres://h:6000/d?host=i&port=6001", vec![("i", 6001)]),
        ("postgres://h/d?hostaddr=", vec![("h", port)]),
        ("postgres:///d?hostaddr=127.0.0.1,::1", vec![("127.0.0.1", port), ("::1", port)]),
        ("postgres://a:6000,b:6001/d", vec![("a", 6000), ("b", 6001)]),
        ("postgres://a,b:6001/d", vec![("a", port), ("b", 6001)]),
        ("postgres://[::1]:6000,[::2]:6001,c/d", vec![("::1", 6000), ("::2", 6001), ("c", port)]),
        ("postgres:///d?host=a,b&port=6000,6001", vec![("a", 6000), ("b", 6001)]),
        ("postgres:///d?host=a,b&port=6000", vec![("a", 6000), ("b", 6000)]),
        ("postgres:///d?host=/run/a,b", vec![("/run/a", port), ("b", port)]),
        ("postgres://a,b/d?port=6000", vec![("a", 6000), ("b", 6000)]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(host, port)| (host.to_owned(), port)).collect();
        assert_eq!(places(&target(url)), expected, "{url}");
    }
}

#[test]
fn several_hosts_mean_one_that_takes_writes_unless_the_url_says_any() {
    for (url, session) in [
        ("postgres://h/d", SessionTarget::Any),
        ("postgres://a,b/d", SessionTarget::ReadWrite),
        ("postgres://a,b/d?target_session_attrs=any", SessionTarget::Any),
        ("postgres://h/d?target_session_attrs=read-write", SessionTarget::ReadWrite),
        ("postgres://a,b/d?target_session_attrs=primary", SessionTarget::ReadWrite),
    ] {
        assert_eq!(target(url).session, session, "{url}");
    }
    for refused in ["read-only", "standby", "prefer-standby", "Any"] {
        let text = refusal(&format!("postgres://a,b/d?target_session_attrs={refused}"));
        assert!(text.contains("any, read-write or primary"), "{text}");
    }
}

#[test]
fn every_host_has_the_other_parameters() {
    let url = "postgres://me%40corp:p%2B%25+x@a,b/d%2Fe?sslmode=verify-full&application_name=mine\
               &options=-c%20search_path%3Dlogin&options[geqo]=off";
    for options in target(url).hosts {
        assert_eq!((options.get_username(), options.get_database()), ("me@corp", Some("d/e")));
        assert_eq!(options.get_application_name(), Some("mine"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        assert!(options.get_options().unwrap().ends_with("-c search_path=login -c geqo=off"), "{options:?}");
        assert!(format!("{options:?}").contains("p+%+x"), "the password");
    }
    let [options] = <[_; 1]>::try_from(target("postgres://a:b@h/d?user=x&password=p%26q&dbname=e").hosts).unwrap();
    assert_eq!((options.get_username(), options.get_database()), ("x", Some("e")));
    assert!(format!("{options:?}").contains("p&q"));
    assert_eq!(options.get_application_name(), Some(APPLICATION_NAME));
}

#[test]
fn a_parameter_that_is_not_taken_is_named_without_its_value() {
    for (parameter, words) in [
        ("sslpasword=canary", "has a parameter that is not known: sslpasword"),
        ("sslpassword=canary", "sslpassword, which is not supported: the key in sslkey must not be encrypted"),
        ("connect_timeout=1canary", "connect_timeout, which is not supported: a connection is given one second"),
        ("keepalives_idle=1canary", "keepalives_idle, which is not supported: every connection"),
        ("tcp_user_timeout=1canary", "tcp_user_timeout, which is not supported"),
        ("passfile=/canary", "passfile, which is not supported: name the file by the variable PGPASSFILE"),
        ("channel_binding=canary", "channel_binding, which is not supported: sslmode=verify-full"),
        ("service=canary", "service, which is not supported"),
        ("pgbouncer=canary", "database.transaction_pooler"),
        ("sslmode=canary", "must have disable, prefer, require, verify-ca or verify-full as sslmode"),
        ("sslmode=allow", "must have disable, prefer"),
        ("port=canary", "each port as a number from 1 to 65535"),
        ("port=0", "each port as a number from 1 to 65535"),
        ("port=1,2", "one port for all hosts, or one for each"),
        ("hostaddr=127.0.0.1", "hostaddr as IP addresses, and without host"),
        ("statement-cache-capacity=canary", "a number as statement-cache-capacity"),
        ("sslcert=/dev/null", "both sslcert and sslkey"),
        (
            "sslrootcert=/nowhere/ca.pem",
            "names a file as sslrootcert that cannot be read: /nowhere/ca.pem (No such file",
        ),
        (
            "sslcert=/dev/null&sslkey=-----BEGIN%20KEY-----canary",
            "sslkey that cannot be read: (not a file's name, but PEM)",
        ),
        ("sslcert=/dev/null&sslkey=/nowhere/key.pem", "names a file as sslkey that cannot be read: /nowhere/key.pem"),
    ] {
        let text = refusal(&format!("postgres://u:canary@h/d?{parameter}"));
        assert!(text.contains(words) && !text.contains("canary"), "{parameter}: {text}");
    }
}

#[test]
fn no_part_of_a_password_is_told_however_it_is_written() {
    for url in [
        "postgres://u:12/canary@h/d",
        "postgres://u:12?canary@h/d",
        "postgres://u:12?canary=1@h/d",
        "postgres://u:canary#x@h/d",
        "postgres://u:can,ary/@h/d",
        "postgres://u:canary%00@h/d",
        "postgres://u:canary%ff@h/d",
        "postgres://u:canary\n@h/d",
        "postgres://u:[canary@h]/d",
        "postgres://h/d?password=a&canary=1",
        "postgres://h/d?password=a&canary",
        "postgres://h/d?password=a@canary",
        "postgres://u@[canary]/d",
        "postgres://u@[::1]canary/d",
        "postgres://h:canary/d",
        "canary",
        "\"postgres://u:canary@h/d\"",
    ] {
        let text = refusal(url);
        assert!(!text.contains("canary") && !text.contains("ary"), "{url}: {text}");
        let error = parse(&url.to_owned().into()).err().unwrap();
        assert!(
            error.to_string().starts_with("database.url must ") || error.to_string().contains("not known"),
            "{error}"
        );
    }
}

#[test]
fn an_authority_of_ones_own_makes_the_server_be_verified_as_with_libpq() {
    let mode = |url: &str| target(url).hosts.swap_remove(0).get_ssl_mode();
    assert!(matches!(mode("postgres://h/d?sslmode=require&sslrootcert=/dev/null"), PgSslMode::VerifyCa));
    assert!(matches!(mode("postgres://h/d?sslmode=require"), PgSslMode::Require));
    assert!(matches!(mode("postgres://h/d?sslmode=prefer&sslrootcert=/dev/null"), PgSslMode::Prefer));
    assert!(matches!(mode("postgres://h/d"), PgSslMode::Prefer));
}

#[test]
fn variables_of_libpq_stand_in_for_what_the_url_leaves_out() {
    let environment = |name: &str| {
        let value = match name {
            "PGHOST" => "a,b",
            "PGPORT" => "6000",
            "PGSSLMODE" => "verify-full",
            "PGTARGETSESSIONATTRS" => "any",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let taken = read("postgres:///d", environment).ok().unwrap();
    assert_eq!(places(&taken), [("a".to_owned(), 6000), ("b".to_owned(), 6000)]);
    assert_eq!(taken.session, SessionTarget::Any);
    let said = read("postgres://h:1/d?sslmode=disable", environment).ok().unwrap();
    assert_eq!(places(&said), [("h".to_owned(), 1)]);
    assert!(matches!(said.hosts[0].get_ssl_mode(), PgSslMode::Disable));
    let bogus = read("postgres://h/d", |name| (name == "PGSSLMODE").then(|| "bogus".to_owned())).err().unwrap();
    assert!(bogus.to_string().contains("PGSSLMODE"), "{bogus}");
}
