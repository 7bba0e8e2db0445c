//! What is refused after loading: ranges, deadlines out of order, addresses of the wrong form, and everything that
//! production must not start with.

use super::{MASTER_KEY, from_text, from_variables, production, refused};

#[test]
fn a_value_out_of_its_range_is_refused_by_key_and_place() {
    for (key, values) in [
        ("server.max_connections", ["0", "1000001"]),
        ("server.max_connections_per_peer", ["1000001", "2000000"]),
        ("server.idle_timeout_seconds", ["0", "3601"]),
        ("server.header_timeout_seconds", ["0", "3601"]),
        ("server.body_timeout_ms", ["0", "600001"]),
        ("server.request_timeout_ms", ["0", "600001"]),
        ("server.drain_delay_seconds", ["3601", "86400"]),
        ("server.drain_timeout_seconds", ["0", "3601"]),
        ("database.max_connections", ["0", "1001"]),
        ("database.statement_timeout_ms", ["0", "600001"]),
        ("database.phase_timeout_ms", ["0", "600001"]),
        ("verifier.aliyun.timeout_ms", ["0", "600001"]),
        ("verifier.aliyun.connect_timeout_ms", ["0", "600001"]),
        ("verifier.aliyun.max_in_flight", ["0", "1000001"]),
        ("login.retry_window_seconds", ["7201", "86400"]),
        ("login.max_in_flight", ["0", "1000001"]),
        ("login.max_batch", ["0", "1001"]),
        ("limits.logins_per_app_per_minute", ["10000001", "4294967295"]),
        ("limits.logins_per_address_per_minute", ["10000001", "4294967295"]),
        ("limits.logins_per_device_per_minute", ["10000001", "4294967295"]),
        ("limits.verifier_calls_per_minute", ["10000001", "4294967295"]),
        ("limits.verifier_calls_per_day", ["1000000000001", "9223372036854775807"]),
        ("session.ttl_seconds", ["0", "9223372036854775807"]),
        ("session.rotation_grace_seconds", ["3601", "86400"]),
        ("id_token.ttl_seconds", ["0", "86401"]),
        ("id_token.key_lifetime_days", ["3651", "86400"]),
    ] {
        let name = format!("ONECLICK_{}", key.replace('.', "__").to_uppercase());
        for value in values {
            refused(from_variables(&[(&name, value)]), &[&format!("{key} must be "), &name]);
        }
    }
    let settings = from_variables(&[("ONECLICK_SERVER__DRAIN_DELAY_SECONDS", "0")]);
    assert_eq!(settings.unwrap().server.drain_delay_seconds, 0);
}

#[test]
fn deadlines_shrink_inwards() {
    for (changed, value, key, other) in [
        (
            "ONECLICK_SERVER__HEADER_TIMEOUT_SECONDS",
            "75",
            "server.idle_timeout_seconds",
            "server.header_timeout_seconds",
        ),
        (
            "ONECLICK_SERVER__REQUEST_TIMEOUT_MS",
            "6199",
            "server.request_timeout_ms",
            "database.phase_timeout_ms (6200)",
        ),
        ("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "5000", "server.request_timeout_ms", "verifier.aliyun.timeout_ms"),
        ("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "1500", "verifier.aliyun.timeout_ms", "connect_timeout_ms (1500)"),
        (
            "ONECLICK_DATABASE__STATEMENT_TIMEOUT_MS",
            "1201",
            "database.phase_timeout_ms",
            "database.statement_timeout_ms",
        ),
        ("ONECLICK_LOGIN__MAX_IN_FLIGHT", "100", "login.max_in_flight", "login.max_batch"),
        ("ONECLICK_SESSION__TTL_SECONDS", "30", "session.ttl_seconds", "session.rotation_grace_seconds"),
        ("ONECLICK_SERVER__LISTEN", "127.0.0.1:9090", "server.management_listen", "server.listen"),
    ] {
        refused(production(&[(changed, value)]), &[key, other]);
    }
    let both_any = [("ONECLICK_SERVER__LISTEN", "127.0.0.1:0"), ("ONECLICK_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")];
    assert!(from_variables(&both_any).is_ok());
    // The sandbox has no use for the verifier's deadline.
    assert!(from_variables(&[("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "5000")]).is_ok());
}

#[test]
fn a_burst_belongs_to_a_rate() {
    for whose in ["APP", "ADDRESS", "DEVICE"] {
        let burst = format!("ONECLICK_LIMITS__{whose}_BURST");
        let rate = format!("ONECLICK_LIMITS__LOGINS_PER_{whose}_PER_MINUTE");
        refused(from_variables(&[(&burst, "5"), (&rate, "0")]), &["_burst must be 0", "_per_minute is 0", &burst]);
        refused(from_variables(&[(&burst, "10000001"), (&rate, "1")]), &["_burst must be 0 to 10000000"]);
        assert!(from_variables(&[(&burst, "5"), (&rate, "60")]).is_ok());
    }
}

#[test]
fn a_burst_that_is_not_set_is_a_minutes_worth_and_the_address_limit_waits_for_the_gateways_to_be_declared() {
    let name = "ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE";
    let burst = |pairs: &[_]| from_variables(pairs).unwrap().login_limits().device.unwrap().burst.get();
    assert_eq!(burst(&[(name, "60")]), 60);
    assert_eq!(burst(&[(name, "60"), ("ONECLICK_LIMITS__DEVICE_BURST", "5")]), 5);
    assert_eq!(burst(&[(name, "6"), ("ONECLICK_LIMITS__DEVICE_BURST", "50")]), 50);

    let by_default = from_variables(&[]).unwrap().login_limits();
    assert!(by_default.app.is_none() && by_default.address.is_none() && by_default.device.is_none());
    let declared = from_variables(&[("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.1")]).unwrap().login_limits();
    assert_eq!(declared.address.unwrap().per_minute.get(), 600);
}

#[test]
fn all_problems_are_told_together() {
    let pairs = [("ONECLICK_SESSION__TTL_SECONDS", "0"), ("ONECLICK_LOGIN__MAX_BATCH", "0"), ("DATABASE_URL", "x")];
    refused(from_variables(&pairs), &["session.ttl_seconds", "login.max_batch", "database.url", "DATABASE_URL"]);
}

#[test]
fn an_issuer_has_the_form_that_verifiers_find_the_keys_by() {
    for issuer in [
        "login.example.com/api/v1/oauth2",
        "ftp://login.example.com/api/v1/oauth2",
        "https:login.example.com/api/v1/oauth2",
        "https://login.example.com",
        "https://login.example.com/api/v1/oauth2/",
        "https://login.example.com/?x=/api/v1/oauth2",
        "https://login.example.com/#/api/v1/oauth2",
        "https://user@login.example.com/api/v1/oauth2",
        "https://login example.com/api/v1/oauth2",
        " https://login.example.com/api/v1/oauth2",
        "https:///api/v1/oauth2 ",
    ] {
        refused(
            from_variables(&[("ONECLICK_ID_TOKEN__ISSUER", issuer)]),
            &["id_token.issuer", "ONECLICK_ID_TOKEN__ISSUER"],
        );
    }
    let under_a_path = ("ONECLICK_ID_TOKEN__ISSUER", "https://example.com/login/api/v1/oauth2");
    assert_eq!(from_variables(&[under_a_path]).unwrap().issuer(), under_a_path.1);
}

#[test]
fn addresses_have_a_form_that_can_work() {
    for endpoint in
        ["dypnsapi.aliyuncs.com", "ftp://x", "https://", "https://a/?b", "https://u:canary@a", "https://a b"]
    {
        refused(from_variables(&[("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", endpoint)]), &["verifier.aliyun.endpoint"]);
    }
    refused(from_variables(&[("ONECLICK_VERIFIER__ALIYUN__PROXY", "proxy:3128")]), &["verifier.aliyun.proxy"]);
    for url in ["mysql://h/d", "postgres:h", "sqlite:data.db", "h/d", "postgres://u:p@h:port/d"] {
        refused(from_variables(&[("DATABASE_URL", url)]), &["database.url"]);
    }
    for (url, words) in [
        ("\"postgres://h/d\"", "begins with a quotation mark"),
        ("postgres://h/d?sslmode=bogus", "as sslmode"),
        ("postgres://h/d?sslpassword=canary", "has the parameter sslpassword, which is not supported"),
        ("postgres://h/d?sslpasword=canary", "has a parameter that is not known: sslpasword"),
        ("postgres://h/d?sslrootcert=/nowhere/ca.pem", "as sslrootcert that cannot be read: /nowhere/ca.pem"),
        ("postgres://a,b:1,c/d?port=1,2", "one port for all hosts, or one for each"),
        ("sqlite://", "must name a file"),
        ("sqlite://:memory:", "must name a file"),
        ("sqlite://a.db?cache=shared", "mode=rwc"),
    ] {
        refused(from_variables(&[("DATABASE_URL", url)]), &["database.url", "DATABASE_URL", words]);
    }
    for url in [
        "postgres://h/d",
        "postgres://a:1,[::1]:2/d?target_session_attrs=read-write",
        "postgresql://u:p%23@h:1/d",
        "sqlite://a.db",
        "sqlite:///tmp/a.db",
        "postgres:///d?host=/run",
    ] {
        assert!(from_variables(&[("DATABASE_URL", url)]).is_ok(), "{url}");
    }
}

#[test]
fn a_trusted_proxy_is_an_address_or_a_network_but_not_everybody() {
    let name = "ONECLICK_SERVER__TRUSTED_PROXIES";
    for (list, why) in [
        ("10.0.0.1,gateway", "server.trusted_proxies number 2: must be an address or a network"),
        ("0.0.0.0/0", "server.trusted_proxies number 1: must not be all addresses"),
        ("::ffff:10.0.0.0/104", "server.trusted_proxies number 1: must be written as an IPv4 network"),
    ] {
        refused(from_variables(&[(name, list)]), &[why, name]);
    }
    assert!(!from_variables(&[(name, "10.0.0.1, fd00::/8")]).unwrap().trusted_proxies().is_empty());
    assert!(production(&[]).unwrap().trusted_proxies().is_empty(), "nobody has to be declared");
}

#[test]
fn a_master_key_is_exactly_32_bytes_in_base64() {
    for key in [
        "short",
        "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2",
        "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr",
        "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr",
        "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s= x",
        "__________________________________________8=",
    ] {
        refused(
            from_variables(&[("ONECLICK_SECRETS__MASTER_KEY", key)]),
            &["secrets.master_key", "32 bytes in base64"],
        );
    }
    let settings = from_variables(&[("ONECLICK_SECRETS__MASTER_KEY", MASTER_KEY)]).unwrap();
    assert!(settings.master_keys().is_some());
}

#[test]
fn several_master_keys_are_given_by_commas_or_lines_each_of_32_bytes() {
    let other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for text in [format!("{MASTER_KEY},{other}"), format!("{MASTER_KEY}\n{other}"), format!("{MASTER_KEY}, {other}")] {
        let settings = from_variables(&[("ONECLICK_SECRETS__MASTER_KEY", &text)]).unwrap();
        assert!(settings.master_keys().is_some());
        let folder = tempfile::tempdir().unwrap();
        let path = super::write(&folder, "keys", &format!("{text}\n"));
        let settings = from_variables(&[("ONECLICK_SECRETS__MASTER_KEY_FILE", path.to_str().unwrap())]).unwrap();
        assert!(settings.master_keys().is_some());
    }
    for text in [format!("{MASTER_KEY},short"), format!("{MASTER_KEY},"), format!("{MASTER_KEY}{other}")] {
        let names = ["secrets.master_key", "32 bytes in base64"];
        refused(from_variables(&[("ONECLICK_SECRETS__MASTER_KEY", &text)]), &names);
    }
    let twice = format!("{MASTER_KEY},{other},{MASTER_KEY}");
    refused(
        from_variables(&[("ONECLICK_SECRETS__MASTER_KEY", &twice)]),
        &["secrets.master_key must not list a key twice"],
    );
}

#[test]
fn a_key_lifetime_of_no_days_means_by_command_only() {
    let lifetime =
        |days| from_variables(&[("ONECLICK_ID_TOKEN__KEY_LIFETIME_DAYS", days)]).unwrap().id_token.key_lifetime();
    assert_eq!(lifetime("0"), None);
    assert_eq!(lifetime("90"), Some(std::time::Duration::from_secs(7_776_000)));
}

#[test]
fn an_app_needs_a_valid_client_id_of_its_own_and_a_name() {
    let app = |id: &str, name: &str| format!("[[apps]]\nclient_id = \"{id}\"\nname = \"{name}\"\n");
    refused(from_text(&app("a b", "A"), &[]), &["apps number 1: a client id is", "settings.toml"]);
    refused(from_text(&app("a", " "), &[]), &["apps number 1: an app needs a name"]);
    let twice = format!("{}{}", app("a", "A"), app("a", "B"));
    refused(from_text(&twice, &[]), &["apps number 2: client id a is listed twice"]);
    // Naming the demo app oneself takes the place of the one that development adds.
    let own = from_text(&app("nTo1eRIub60vPb54WeE6aojPwYwImtl4", "Mine"), &[]).unwrap().apps();
    assert_eq!((own.len(), own[0].name.as_str()), (1, "Mine"));
}

#[test]
fn aliyun_needs_credentials() {
    let provider = ("ONECLICK_VERIFIER__PROVIDER", "aliyun");
    let keys = ["verifier.aliyun.access_key_id", "verifier.aliyun.access_key_secret"];
    refused(from_variables(&[provider]), &keys);
    refused(production(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "")]), &keys[..1]);
    refused(production(&[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")]), &keys[1..]);
}

/// ASVS 12.2.1, 12.3.1.
#[test]
fn production_refuses_what_only_development_may_do() {
    for (change, key) in [
        (("ONECLICK_VERIFIER__PROVIDER", "sandbox"), "verifier.provider must not be sandbox in production"),
        (("ONECLICK_SECRETS__MASTER_KEY", ""), "secrets.master_key must be set in production"),
        (("ONECLICK_ID_TOKEN__ISSUER", ""), "id_token.issuer must be an https:// URL in production"),
        (
            ("ONECLICK_ID_TOKEN__ISSUER", "http://login.example.com/api/v1/oauth2"),
            "id_token.issuer must be an https:// URL",
        ),
        (
            ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "http://127.0.0.1:1"),
            "verifier.aliyun.endpoint must be an https:// URL",
        ),
        (("DATABASE_URL", ""), "database.url must be set in production"),
    ] {
        refused(production(&[change]), &[key]);
    }
    for exposed in [
        "postgres://login:word@db.internal/login",
        "postgres://login:word@db.internal/login?sslmode=disable",
        "postgres://login:word@db.internal/login?sslmode=require",
        "postgres://login:word@127.0.0.1,db.internal/login",
    ] {
        let words = ["database.url must have sslmode=verify-full", "database.allow_plaintext"];
        refused(production(&[("DATABASE_URL", exposed)]), &words);
        assert!(production(&[("DATABASE_URL", exposed), ("ONECLICK_DATABASE__ALLOW_PLAINTEXT", "true")]).is_ok());
        assert!(from_variables(&[("DATABASE_URL", exposed)]).is_ok(), "in development");
    }
    for safe in [
        "postgres://login:word@db.internal/login?sslmode=verify-ca",
        "postgres://login:word@db.internal/login?sslmode=require&sslrootcert=/dev/null",
        "postgres://login:word@127.0.0.1,[::1],localhost/login",
        "postgres://login@/login?host=/run/postgresql",
    ] {
        assert!(production(&[("DATABASE_URL", safe)]).is_ok(), "{safe}");
    }
    refused(from_variables(&[("ONECLICK_ENVIRONMENT", "production")]), &["verifier.provider", "secrets.master_key"]);
    let sqlite = production(&[("DATABASE_URL", "sqlite:///var/lib/oneclick-login/data.db")]).unwrap();
    assert_eq!(sqlite.database_kind().as_str(), "sqlite");
}

/// ASVS 13.4.2.
#[test]
fn development_that_nobody_asked_for_is_not_opened_to_other_machines() {
    let listen = |address: &str, more: &[(&str, &str)]| {
        from_variables(&[&[("ONECLICK_SERVER__LISTEN", address)], more].concat())
    };
    for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080"] {
        let words =
            ["environment is not set", open, "environment = \"development\"", "ONECLICK_ENVIRONMENT", "\"production\""];
        refused(listen(open, &[]), &words);
        refused(listen(open, &[("ONECLICK_VERIFIER__PROVIDER", "aliyun")]), &words);
        assert!(listen(open, &[("ONECLICK_ENVIRONMENT", "development")]).is_ok());
        assert!(from_text("environment = \"development\"\n", &[("ONECLICK_SERVER__LISTEN", open)]).is_ok());
    }
    for own in ["127.0.0.1:8080", "127.1.2.3:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
        assert!(listen(own, &[]).is_ok(), "{own}");
    }
}
