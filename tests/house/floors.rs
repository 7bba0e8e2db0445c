//! The floors: imports go down only. Which module is on which floor is read from the table in `src/lib.rs`.
//!
//! Sideways is fine on every floor, as long as no module of a floor comes back to itself that way.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{root_modules, uses_of_crate};
use super::source::SourceFile;
use super::{read, sources};

/// An outside crate that only some modules may name.
struct Reserved {
    name: &'static str,
    /// `http` stands for what is below it, too.
    modules: &'static [&'static str],
    /// Whether the composition may name it, which puts everything together.
    composition: bool,
}

const RESERVED: [Reserved; 9] = [
    Reserved { name: "axum", modules: &["http"], composition: true },
    Reserved { name: "sqlx", modules: &["store"], composition: false },
    Reserved {
        name: "reqwest",
        modules: &["verifier", "cli::healthcheck", "cli::doctor", "telemetry::otel"],
        composition: false,
    },
    Reserved { name: "opentelemetry", modules: &["telemetry::otel"], composition: false },
    Reserved { name: "opentelemetry_http", modules: &["telemetry::otel"], composition: false },
    Reserved { name: "opentelemetry_otlp", modules: &["telemetry::otel"], composition: false },
    Reserved { name: "opentelemetry_sdk", modules: &["telemetry::otel"], composition: false },
    Reserved { name: "governor", modules: &["limits"], composition: false },
    Reserved { name: "prometheus_client", modules: &["metrics"], composition: false },
];

const COMPOSITION: u8 = 4;

/// From a module to its floor.
type Plan = BTreeMap<String, u8>;

/// Reads rows like ``//! | 3 edge | [`http`] | … |``.
fn plan(crate_doc: &str) -> Plan {
    let mut plan = Plan::new();
    for line in crate_doc.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = line.split(" | ");
        let (Some(floor), Some(modules)) = (cells.next(), cells.next()) else { continue };
        let Some(floor) = floor.split(' ').next().and_then(|number| number.parse().ok()) else { continue };
        for module in modules.split(", ").filter_map(|link| link.strip_prefix("[`")?.strip_suffix("`]")) {
            assert_eq!(plan.insert(module.to_owned(), floor), None, "{module} is on two floors");
        }
    }
    plan
}

/// `src/http/mod.rs` → `["http"]`, `src/http/json.rs` → `["http", "json"]`.
fn module_of(path: &str) -> Vec<&str> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
}

fn violations(plan: &Plan, files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    let mut sideways: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let module = module_of(&file.path);
        let own = module.first().copied().unwrap_or("main");
        // main.rs and lib.rs are not in the plan: the one starts it, the other declares it.
        let Some(floor) = plan.get(own).copied().or((own == "main").then_some(COMPOSITION)) else {
            found.push(format!("{}: `{own}` has no floor in the table of src/lib.rs", file.path));
            continue;
        };
        let code = file.shipped_code();
        let complain = |line: usize, what: String| format!("{}:{line}: {what}: `{}`", file.path, file.line(line));
        for crate_of_others in RESERVED.iter().filter(|reserved| !reserved.allows(&module, floor)) {
            let lines = uses_of_crate(&code, crate_of_others.name);
            found.extend(
                lines.into_iter().map(|line| complain(line, format!("{} is not for here", crate_of_others.name))),
            );
        }
        for named in root_modules(&code, module.len()) {
            match plan.get(&named.name) {
                Some(other) if *other > floor => {
                    let what = format!("`{own}` on floor {floor} looks up to `{}` on floor {other}", named.name);
                    found.push(complain(named.line, what));
                }
                Some(other) if *other == floor && named.name != own => {
                    sideways.entry(own).or_default().insert(named.name);
                }
                Some(_) => {}
                None => found.push(complain(named.line, format!("`{}` has no floor", named.name))),
            }
        }
    }
    found.extend(sideways.keys().filter(|module| comes_back(module, &sideways)).map(|module| {
        let others: Vec<_> = sideways[module].iter().map(String::as_str).collect();
        format!("`{module}` comes back to itself by what it imports from its own floor: {}", others.join(", "))
    }));
    found
}

impl Reserved {
    fn allows(&self, module: &[&str], floor: u8) -> bool {
        let module = module.join("::");
        let within = |place: &&str| module == **place || module.starts_with(&format!("{place}::"));
        self.composition && floor == COMPOSITION || self.modules.iter().any(within)
    }
}

fn comes_back(module: &str, sideways: &BTreeMap<&str, BTreeSet<String>>) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = vec![module];
    while let Some(at) = next.pop() {
        for other in sideways.get(at).into_iter().flatten() {
            if other == module {
                return true;
            }
            if seen.insert(other.as_str()) {
                next.push(other);
            }
        }
    }
    false
}

#[test]
fn imports_go_down_the_floors_only() {
    let plan = plan(&read("src/lib.rs"));
    let floors: BTreeSet<_> = plan.values().copied().collect();
    assert_eq!(floors, BTreeSet::from([0, 1, 2, 3, 4]), "the table of src/lib.rs is read");
    let violations = violations(&plan, &sources(&["src"]));
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn every_module_of_the_plan_exists() {
    let existing: BTreeSet<_> = sources(&["src"])
        .iter()
        .filter_map(|file| module_of(&file.path).first().map(|name| (*name).to_owned()))
        .collect();
    let planned: BTreeSet<_> = plan(&read("src/lib.rs")).into_keys().collect();
    assert_eq!(planned, existing);
}

#[test]
fn a_planted_violation_is_found_with_its_file_line_and_import() {
    let plan: Plan = [("cli", 4), ("telemetry", 4), ("http", 3), ("login", 2), ("store", 1), ("keys", 1), ("ids", 0)]
        .map(|(name, floor)| (name.to_owned(), floor))
        .into();
    let found = |path: &str, text: &str| {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        violations(&plan, &[file])
    };

    let planted = "//! Doc of crate::http.\n\nuse crate::ids::UserId;\nuse crate::http::Http;\n";
    let up = found("src/login.rs", planted);
    assert_eq!(up, ["src/login.rs:4: `login` on floor 2 looks up to `http` on floor 3: `use crate::http::Http;`"]);
    assert_eq!(found("src/store/rows.rs", "use crate::{ids, login};").len(), 1);
    assert_eq!(found("src/store/rows.rs", "fn a() { crate::cli::run() }").len(), 1);
    assert_eq!(found("src/store/sqlite/users.rs", "use super::super::super::http::Http;").len(), 1);
    assert_eq!(found("src/stray.rs", "").len(), 1, "a module without a floor");
    assert_eq!(found("src/ids.rs", "use crate::stray::Thing;").len(), 1, "an import without a floor");

    assert_eq!(found("src/login.rs", "use axum::Router;").len(), 1);
    assert_eq!(found("src/keys/mod.rs", "fn a() { sqlx::query(\"\"); }").len(), 1);
    assert_eq!(found("src/http/mod.rs", "use reqwest::Client;\nuse sqlx::Row;").len(), 2);
    assert_eq!(found("src/main.rs", "use sqlx::Row;").len(), 1);
    assert_eq!(found("src/cli/user.rs", "use reqwest::Client;").len(), 1);
    assert_eq!(found("src/telemetry/mod.rs", "use opentelemetry::Context;").len(), 1);
    assert_eq!(found("src/http/mod.rs", "use prometheus_client::registry::Registry;").len(), 1);

    for (path, text) in [
        ("src/http/mod.rs", "use axum::Router; use crate::{login, store};"),
        ("src/store/sqlite/users.rs", "use sqlx::Row; use super::super::rows; use crate::keys;"),
        ("src/cli/healthcheck.rs", "use reqwest::Client;"),
        ("src/cli/doctor/issuer.rs", "use reqwest::Client;"),
        ("src/telemetry/otel.rs", "use reqwest::Client; use opentelemetry_sdk::Resource;"),
        ("src/cli/serve.rs", "use axum::Router; fn a() { crate::login::b() }"),
        ("src/ids.rs", "const FILTER: &str = \"sqlx::query=warn\"; // crate::cli"),
        ("src/ids.rs", "#[cfg(test)]\nmod tests { use crate::cli::Cli; }"),
        ("src/store/sqlite/tests.rs", "use crate::http::Http;"),
    ] {
        assert!(found(path, text).is_empty(), "{path}: {text}");
    }

    let circle = [("src/store/mod.rs", "use crate::keys::Keys;"), ("src/keys/mod.rs", "use crate::store::Store;")]
        .map(|(path, text)| SourceFile { path: path.to_owned(), text: text.to_owned() });
    assert_eq!(violations(&plan, &circle[..1]).len(), 0, "sideways alone is fine");
    assert_eq!(violations(&plan, &circle).len(), 2, "but not in a circle");
}
