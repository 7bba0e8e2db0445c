//! The Kubernetes manifests beside the program and beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{MARGIN, SECRETS, database_url, longest_end, production, read, write_secrets};
use crate::program::memory::{MOST_KIB, MOST_KIB_IN_TLS};
use crate::support::program::Setup;

const FOLDER: &str = "deploy/kubernetes";
const OWNERS_URL: &str = "postgres://owner:word@db.internal/oneclick?sslmode=verify-full";

fn manifests(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(&format!("{FOLDER}/{file}"))).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn manifest(file: &str) -> Value {
    let [manifest] = manifests(file).try_into().unwrap();
    manifest
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// The pods of the server and of the migration.
fn pods() -> [Value; 2] {
    ["deployment.yaml", "migrate.yaml"].map(|file| manifest(file)["spec"]["template"].clone())
}

/// The settings of a pod's one container, its secrets lying below `root`.
fn settings_of(pod: &Value, root: &Path) -> oneclick_login::settings::Settings {
    let below = |path: &str| path.replace("/run/secrets", root.to_str().unwrap());
    let mut variables: BTreeMap<String, String> = list(&pod["spec"]["containers"][0]["env"])
        .iter()
        .map(|variable| (text(&variable["name"]).to_owned(), below(text(&variable["value"]))))
        .collect();
    assert_eq!(variables.remove("ONECLICK_CONFIG").unwrap(), "/etc/oneclick-login/settings.toml");
    production(&below(&read("deploy/kubernetes/settings.toml")), &variables)
}

fn server_settings() -> oneclick_login::settings::Settings {
    let root = TempDir::new().unwrap();
    write_secrets(&root.path().join("oneclick-login"));
    settings_of(&pods()[0], root.path())
}

#[test]
fn every_manifest_is_listed_save_the_example_of_the_secrets() {
    let kustomization = manifest("kustomization.yaml");
    let listed: BTreeSet<_> = list(&kustomization["resources"]).iter().map(|file| text(file).to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let mut there: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    for other in ["kustomization.yaml", "secret.example.yaml"] {
        assert!(there.remove(other), "no {other}");
    }
    assert_eq!(listed, there);
    assert_eq!(kustomization["configMapGenerator"][0]["files"], json!(["settings.toml"]));
    let image = &kustomization["images"][0];
    let digest = text(&image["digest"]).strip_prefix("sha256:").expect("by digest");
    assert_eq!((digest.len(), &image["newTag"]), (64, &Value::Null));
    let asked_of = format!("{}:{}\n", text(&image["newName"]), env!("CARGO_PKG_VERSION"));
    assert!(read(&format!("{FOLDER}/kustomization.yaml")).contains(&asked_of), "{asked_of}");
    for pod in pods() {
        assert_eq!(pod["spec"]["containers"][0]["image"], kustomization["images"][0]["name"]);
    }
}

/// ASVS 13.2.2.
#[test]
fn the_server_and_the_migration_start_with_valid_settings_and_each_with_its_own_database_url() {
    let root = TempDir::new().unwrap();
    write_secrets(&root.path().join("oneclick-login"));
    let own = root.path().join("oneclick-login-migrate");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("database_url"), OWNERS_URL).unwrap();
    let [server, migration] = pods().map(|pod| settings_of(&pod, root.path()));
    assert_eq!(database_url(&server), SECRETS[0].1);
    assert_eq!(database_url(&migration), OWNERS_URL);
    assert_eq!(pods().map(|pod| pod["spec"]["containers"][0]["args"][0].clone()), ["serve", "migrate"]);
}

#[test]
fn what_is_mounted_is_there_and_the_secrets_have_the_files_that_the_settings_name() {
    let keys: BTreeMap<String, BTreeSet<String>> = manifests("secret.example.yaml")
        .iter()
        .map(|secret| {
            let names = secret["stringData"].as_object().unwrap().keys().cloned().collect();
            (text(&secret["metadata"]["name"]).to_owned(), names)
        })
        .collect();
    assert_eq!(keys["oneclick-login"], SECRETS.map(|(name, _)| name.to_owned()).into());
    assert_eq!(keys["oneclick-login-migrate"], BTreeSet::from(["database_url".to_owned()]));
    let settings_map = &manifest("kustomization.yaml")["configMapGenerator"][0]["name"];
    for pod in pods() {
        let spec = &pod["spec"];
        let volume = |name: &Value| list(&spec["volumes"]).iter().find(|volume| volume["name"] == *name).cloned();
        for mount in list(&spec["containers"][0]["volumeMounts"]) {
            let volume = volume(&mount["name"]).unwrap_or_else(|| panic!("no volume for {mount}"));
            match text(&mount["mountPath"]).strip_prefix("/run/secrets/") {
                Some(secret) => {
                    assert_eq!((&volume["secret"]["secretName"], keys.contains_key(secret)), (&json!(secret), true))
                }
                None => assert_eq!(&volume["configMap"]["name"], settings_map),
            }
        }
    }
}

#[test]
fn the_grace_period_is_longer_than_an_orderly_end_and_a_rollout_never_lacks_a_replica() {
    let deployment = manifest("deployment.yaml");
    let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    let grace = Duration::from_secs(grace.as_u64().unwrap());
    assert!(grace >= longest_end(&server_settings()) + MARGIN, "{grace:?}");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert!(deployment["spec"]["replicas"].as_u64().unwrap() >= 2);
    let budget = manifest("pod-disruption-budget.yaml");
    assert!(budget["spec"]["maxUnavailable"].as_u64() < deployment["spec"]["replicas"].as_u64());
}

#[tokio::test]
async fn ports_are_those_of_the_settings_and_probes_ask_what_the_program_answers() {
    let server = server_settings().server;
    let container = &pods()[0]["spec"]["containers"][0];
    let ports: BTreeMap<_, _> =
        list(&container["ports"]).iter().map(|port| (text(&port["name"]), port["containerPort"].as_u64())).collect();
    let expected = [("api", server.listen), ("management", server.management_listen)];
    assert_eq!(ports, expected.map(|(name, address)| (name, Some(u64::from(address.port())))).into());

    let [api, management] = manifests("service.yaml").try_into().unwrap();
    assert_eq!(list(&api["spec"]["ports"]).len(), 1, "the API and nothing else");
    assert_eq!(api["spec"]["ports"][0]["targetPort"], "api");
    assert_eq!(management["spec"]["ports"][0]["targetPort"], "management");

    let program = Setup::new().start().await;
    program.wait_until_ready().await;
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&json!(path), &json!("management")), "{probe}");
        assert_eq!(program.health(path).await.status, 200);
    }
}

/// ASVS 13.2.2.
#[test]
fn nothing_runs_with_a_right_that_it_does_not_need() {
    for pod in pods() {
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        let context = &spec["securityContext"];
        assert_eq!((&context["runAsNonRoot"], &context["runAsUser"]), (&json!(true), &json!(65532)));
        assert_eq!(
            (&context["runAsGroup"], &context["seccompProfile"]["type"]),
            (&json!(65532), &json!("RuntimeDefault"))
        );
        for shared in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(spec[shared].is_null(), "{shared}");
        }
        let [container] = list(&spec["containers"]) else { panic!("one container") };
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], expected);
        assert!(list(&container["volumeMounts"]).iter().all(|mount| mount["readOnly"] == true));
    }
}

fn mebibytes(container: &Value) -> i64 {
    text(&container["resources"]["limits"]["memory"]).strip_suffix("Mi").unwrap().parse().unwrap()
}

/// ASVS 15.2.2.
#[test]
fn the_memory_holds_as_many_of_the_worst_connections_as_are_let_in() {
    let [server, migration] = pods().map(|pod| mebibytes(&pod["spec"]["containers"][0]));
    let connections = i64::try_from(server_settings().server.max_connections).unwrap();
    let needed = |each: i64| 128 + connections * each / 1024;
    assert!(needed(MOST_KIB) <= server, "{} of {server}", needed(MOST_KIB));
    assert!(migration > 0);
    // What the comment beside it says.
    assert!(needed(MOST_KIB_IN_TLS) <= 640 && read("deploy/kubernetes/deployment.yaml").contains("makes it 640Mi"));
}

/// ASVS 13.2.4.
#[test]
fn nothing_goes_out_but_to_dns_the_database_and_https_outside() {
    let policy = &manifest("network-policy.yaml")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ports =
        |rule: &Value| list(&rule["ports"]).iter().map(|port| port["port"].as_u64().unwrap()).collect::<Vec<_>>();
    let rules = list(&policy["egress"]);
    assert_eq!(rules.iter().map(ports).collect::<Vec<_>>(), [vec![53, 53], vec![5432, 6432], vec![443]]);
    assert!(rules.iter().all(|rule| !list(&rule["to"]).is_empty()), "each says to whom");
    for secret in manifests("secret.example.yaml") {
        let url = url::Url::parse(text(&secret["stringData"]["database_url"])).unwrap();
        assert!(ports(&rules[1]).contains(&u64::from(url.port().unwrap())), "{url}");
    }
    let outside = &rules[2]["to"][0]["ipBlock"];
    for own in ["10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"] {
        assert!(list(&outside["except"]).contains(&json!(own)), "{own}");
    }
    for endpoint in [&server_settings().verifier.aliyun.endpoint, &server_settings().verifier.aliyun.sts_endpoint] {
        assert_eq!(url::Url::parse(endpoint).unwrap().port_or_known_default(), Some(443), "{endpoint}");
    }
    // What is to be uncommented for traces.
    let file = read(&format!("{FOLDER}/network-policy.yaml"));
    let (policy, traces) = file.split_once("    #- to:").unwrap();
    let whole = format!("{policy}    - to:{}", traces.replace("\n    #", "\n    "));
    let whole: Value = serde_saphyr::from_str(&whole).unwrap();
    assert_eq!(ports(&whole["spec"]["egress"][3]), [4318]);
}

#[test]
fn services_budget_and_policy_choose_the_servers_pods() {
    let [server, migration] = pods().map(|pod| pod["metadata"]["labels"].clone());
    let chooses = |selector: &Value, labels: &Value| {
        selector.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value)
    };
    let [api, management] = manifests("service.yaml").try_into().unwrap();
    for selector in [
        &manifest("deployment.yaml")["spec"]["selector"]["matchLabels"],
        &api["spec"]["selector"],
        &management["spec"]["selector"],
        &manifest("pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
    ] {
        assert!(chooses(selector, &server) && !chooses(selector, &migration), "{selector}");
    }
    let policy = &manifest("network-policy.yaml")["spec"];
    let selector = &policy["podSelector"]["matchLabels"];
    assert!(chooses(selector, &server) && chooses(selector, &migration));
    let let_in: Vec<_> = list(&policy["ingress"])
        .iter()
        .map(|rule| (rule["from"].as_array().map(Vec::len), text(&rule["ports"][0]["port"])))
        .collect();
    assert_eq!(let_in, [(Some(1), "api"), (Some(1), "management")]);
}
