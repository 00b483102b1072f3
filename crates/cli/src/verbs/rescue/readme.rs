//! What somebody reads who has found the place of a repository, and has nothing else.

/// What the instructions name.
pub(super) struct About {
    pub(super) repository: String,
    pub(super) place: String,
    pub(super) version: String,
    pub(super) processor: &'static str,
    pub(super) program: String,
    pub(super) sha256: String,
    pub(super) size: usize,
    pub(super) format: String,
}

/// The instructions. The same for the same program and place, so that storing them again adds nothing.
pub(super) fn text(about: &About) -> String {
    let About { repository, place, version, processor, program, sha256, size, format } = about;
    let fetch = fetch(place, program);
    let secrets = secrets(place);
    format!(
        "# How to restore what is kept here

This is a repository of backups made with Seawall.

| | |
| --- | --- |
| place | `{place}` |
| fingerprint | `{repository}` |
| program | `{program}` |
| | version {version}, for Linux on {processor}, {size} bytes |
| SHA-256 | `{sha256}` |
| format | `{format}`, enough to write a reader from |

You need the key file (one line that begins with `seawall-key-1`) or the passphrase, and room for what comes back.
Nothing has to be installed.

1. Fetch the program.

   {fetch}

2. Compare it with the SHA-256 that was noted when it was stored, beside the key file. Whoever could write here could have
   changed the program and this text alike, so the number above proves nothing.

   sha256sum seawall-rescue

3. Let it run, and tell it where and who you are.

   chmod +x seawall-rescue
{secrets}   export SEAWALL_REPO='{place}'
   export SEAWALL_KEY_FILE=key SEAWALL_STATE=seawall-state

4. See what is there, then bring it back. The fingerprint is the one that you noted; it is needed once.

   ./seawall-rescue points --trust {repository}
   ./seawall-rescue restore latest --into restored

   With several sources: --source NAME. Only a part: --include 'home/**'. After a kill: the same command with --resume.
   With a passphrase instead of a key file: --passphrase.

The program looks names up by itself: in /etc/hosts, and at the servers of /etc/resolv.conf. Where that file is missing, write
it: `nameserver ADDRESS`. It trusts the usual authorities; --ca-file FILE names others.
"
    )
}

/// How the program comes from `place` with what every machine, or every browser, has.
fn fetch(place: &str, program: &str) -> String {
    let (bucket, options) = place.split_once('?').unwrap_or((place, ""));
    if place.starts_with("s3://") {
        let endpoint = options.split('&').find_map(|option| option.strip_prefix("endpoint="));
        let endpoint = endpoint.map_or_else(String::new, |url| format!(" --endpoint-url {url}"));
        return format!("aws s3 cp{endpoint} {bucket}/{program} seawall-rescue");
    }
    if place.contains("://") {
        return format!("With a browser: the object {program} of {bucket}, saved as seawall-rescue");
    }
    format!("cp '{place}/{program}' seawall-rescue")
}

fn secrets(place: &str) -> &'static str {
    match place.split_once("://") {
        Some(("s3", _)) => "   export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...\n",
        Some(("gs", _)) => "   export GOOGLE_APPLICATION_CREDENTIALS=FILE\n",
        Some(("az", _)) => "   export AZURE_STORAGE_ACCOUNT_KEY=...\n",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_how_to_fetch_from_it() {
        for (place, line) in [
            ("s3://b/p?region=r", "aws s3 cp s3://b/p/rescue/x seawall-rescue"),
            (
                "s3://b?endpoint=http://h:1&region=r",
                "aws s3 cp --endpoint-url http://h:1 s3://b/rescue/x seawall-rescue",
            ),
            ("/srv/backup", "cp '/srv/backup/rescue/x' seawall-rescue"),
        ] {
            assert_eq!(fetch(place, "rescue/x"), line);
        }
        assert!(fetch("gs://b/p", "rescue/x").contains("rescue/x of gs://b/p"));
    }
}
