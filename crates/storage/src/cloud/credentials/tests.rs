//! Which credentials are found where, and when they are fetched again.

use super::*;
use std::fs;
use world::SimulatedClock;

const FILES: [(&str, &str); 2] = [
    (
        "credentials",
        "# keys\n[default]\naws_access_key_id = AKID\naws_secret_access_key=secret=with=equals\n\n\
         [other]\naws_access_key_id = OTHER\naws_secret_access_key = s\naws_session_token = t\n",
    ),
    (
        "config",
        "[default]\nregion = eu-1\ns3 =\n  aws_access_key_id = NESTED\n[profile other]\nregion=eu-2\n\
         [profile sso]\nsso_session = corp\n[profile role]\nrole_arn = arn:x\nsource_profile = default\n\
         [profile web]\nrole_arn = arn:x\nweb_identity_token_file = /token\n\
         [profile process]\ncredential_process = cat CREDENTIALS\n",
    ),
];

struct Setup {
    dir: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
}

impl Setup {
    fn new() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".aws")).unwrap();
        for (name, text) in FILES {
            let printed = dir.path().join("printed");
            let text = text.replace("CREDENTIALS", &printed.to_string_lossy());
            fs::write(dir.path().join(".aws").join(name), text).unwrap();
        }
        Setup { dir, clock: Arc::new(SimulatedClock::at(1_700_000_000 * SECOND_NS)) }
    }

    fn find(&self, variables: &[(&str, &str)]) -> Result<Found, String> {
        let home = self.dir.path().to_str().unwrap();
        let environment = [("HOME", home)].iter().chain(variables).copied().collect();
        find(&environment, &World::simulated(1, self.clock.clone()))
    }

    /// The keys that a profile gives, and its region.
    async fn keys(&self, profile: &str) -> (String, Option<String>, Option<String>) {
        let found = self.find(&[("AWS_PROFILE", profile)]).unwrap();
        let Credentials::Provider(provider) = found.credentials else { panic!("{profile} has no keys") };
        let credential = provider.get_credential().await.unwrap();
        (format!("{}:{}", credential.key_id, credential.secret_key), credential.token.clone(), found.region)
    }

    fn print(&self, text: &str) {
        fs::write(self.dir.path().join("printed"), text).unwrap();
    }
}

#[tokio::test]
async fn a_profile_gives_keys_token_and_region() {
    let setup = Setup::new();
    let region = |name: &str| Some(name.to_owned());
    assert_eq!(setup.keys("default").await, ("AKID:secret=with=equals".into(), None, region("eu-1")));
    assert_eq!(setup.keys("other").await, ("OTHER:s".into(), Some("t".into()), region("eu-2")));
}

#[test]
fn the_environment_comes_before_profiles() {
    let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_PROFILE", "other")];
    let found = Setup::new().find(&keys).unwrap();
    assert!(matches!(found.credentials, Credentials::Environment));
    assert_eq!(found.region.as_deref(), Some("eu-2"));
}

#[test]
fn variables_move_the_files() {
    let setup = Setup::new();
    let elsewhere = setup.dir.path().join("elsewhere");
    fs::write(&elsewhere, "[moved]\naws_access_key_id = M\n").unwrap();
    let variables = [("AWS_SHARED_CREDENTIALS_FILE", elsewhere.to_str().unwrap()), ("AWS_PROFILE", "moved")];
    assert!(matches!(setup.find(&variables).unwrap().credentials, Credentials::Provider(_)));
}

#[test]
fn a_profile_with_role_and_token_file_is_a_web_identity() {
    let found = Setup::new().find(&[("AWS_PROFILE", "web")]).unwrap();
    assert!(matches!(found.credentials, Credentials::WebIdentity { role_arn, .. } if role_arn == "arn:x"));
}

#[test]
fn what_we_cannot_do_is_refused_by_name() {
    let setup = Setup::new();
    for (profile, hint) in
        [("sso", "single sign-on"), ("role", "assumes a role"), ("absent", "no profile absent")]
    {
        let refused = setup.find(&[("AWS_PROFILE", profile)]).err().unwrap();
        assert!(refused.contains(hint) && refused.contains(profile), "{refused}");
    }
}

#[test]
fn no_credentials_at_all_is_said_at_once_where_no_metadata_may_be_asked() {
    let environment = [("AWS_EC2_METADATA_DISABLED", "true")].into_iter().collect();
    let world = World::simulated(1, Arc::new(SimulatedClock::at(0)));
    assert!(find(&environment, &world).err().unwrap().contains("set AWS_ACCESS_KEY_ID"));
}

#[test]
fn what_a_process_prints_is_checked_and_never_repeated() {
    let good = br#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T",
                    "Expiration": "2026-01-01T00:00:00Z"}"#;
    let (credential, expires_ns) = parsed(good).unwrap();
    assert_eq!((&*credential.key_id, credential.token.as_deref()), ("A", Some("T")));
    assert_eq!(expires_ns, Some(1_767_225_600 * SECOND_NS));
    for bad in [
        r#"{"Version": 2, "AccessKeyId": "hunter2", "SecretAccessKey": "hunter2"}"#,
        r#"{"Version": 1, "AccessKeyId": "hunter2"}"#,
        r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "hunter2"}"#,
        "hunter2",
    ] {
        let refused = parsed(bad.as_bytes()).err().unwrap();
        assert!(refused.starts_with("credential_process") && !refused.contains("hunter2"), "{refused}");
    }
}

fn printed_at(key: &str, expires: &str) -> String {
    format!(r#"{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "S", "Expiration": "{expires}"}}"#)
}

#[tokio::test]
async fn a_process_is_asked_again_before_its_credentials_expire() {
    let setup = Setup::new();
    setup.print(&printed_at("FIRST", "2023-11-14T23:13:20Z"));
    let world = World::real();
    let provider =
        Provider::new(Source::Process(format!("cat {}/printed", setup.dir.path().display())), &world);
    let key = async |provider: &Provider| provider.get_credential().await.map(|c| c.key_id.clone());
    assert_eq!(key(&provider).await.unwrap(), "FIRST");
    setup.print(&printed_at("SECOND", "2999-01-01T00:00:00Z"));
    assert_eq!(key(&provider).await.unwrap(), "SECOND", "the first expired long ago");
    setup.print("nothing of use");
    assert_eq!(key(&provider).await.unwrap(), "SECOND", "the second is still good");
    let failing = Provider::new(Source::Process("echo no such account >&2; exit 3".into()), &world);
    let told = key(&failing).await.unwrap_err().to_string();
    assert!(told.contains("no such account") && told.contains('3'), "{told}");
}

#[tokio::test]
async fn keys_in_files_are_read_again_after_a_minute() {
    let setup = Setup::new();
    let found = setup.find(&[]).unwrap();
    let Credentials::Provider(provider) = found.credentials else { panic!("no keys") };
    let key = async || provider.get_credential().await.unwrap().key_id.clone();
    assert_eq!(key().await, "AKID");
    let renewed = "[default]\naws_access_key_id = NEW\naws_secret_access_key = S\n";
    fs::write(setup.dir.path().join(".aws/credentials"), renewed).unwrap();
    assert_eq!(key().await, "AKID");
    setup.clock.pass(Duration::from_secs(61));
    assert_eq!(key().await, "NEW");
}
