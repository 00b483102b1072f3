//! What a refusal means for us, whatever provider it comes from.
//!
//! Decided by status first and by the provider's code where the status says too little: 403 is a lack of
//! rights, of room or of a right clock; 404 is a missing object or a missing bucket; 400 is sometimes our
//! fault and sometimes a body that was damaged on the way.

use http::StatusCode;

use super::courier::{Heard, chain};
use crate::{Act, Error, Verb};

/// The error that `e` and what was heard on the way mean for `act`.
pub(super) fn of(act: Box<Act>, e: object_store::Error, heard: Option<Heard>) -> Error {
    match heard {
        Some(Heard::NoCredentials { text }) => Error::Denied { act, detail: text },
        Some(Heard::Refusal { host, status, code, message }) if gives_credentials(&host) => {
            let detail = format!("no credentials from {host}: {}", shown(status, &code, &message));
            if status.is_server_error() {
                Error::Unavailable { act, detail }
            } else {
                Error::Denied { act, detail }
            }
        }
        Some(Heard::Silence { host, .. }) if is_instance_metadata(&host) => {
            let detail = "no credentials were found: neither the environment nor a profile has any, and no \
                          instance metadata answers"
                .to_owned();
            Error::Denied { act, detail }
        }
        Some(Heard::Refusal { status, code, message, .. }) => refusal(act, status, &code, &message),
        Some(Heard::Silence { host, text }) => silence(act, &host, &text),
        None => unheard(act, &e),
    }
}

fn refusal(act: Box<Act>, status: StatusCode, code: &str, message: &str) -> Error {
    let detail = shown(status, code, message);
    match status.as_u16() {
        404 if is_missing_place(code, message) => Error::NoPlace { act, detail },
        404 => Error::NotFound { act },
        412 | 409 if act.verb == Verb::Create && !is_passing(code) => Error::Exists { act },
        // The caller knows what was asked for, and finds out the size.
        416 => Error::OutOfRange { act, asked: 0..0, size: 0 },
        507 => Error::Full { act, detail },
        400 | 403 if code.contains("Quota") || code.contains("StorageFull") => Error::Full { act, detail },
        400 if is_damaged_on_the_way(code) => Error::Unavailable { act, detail },
        400 if is_about_credentials(code) => Error::Denied { act, detail },
        403 if code == "RequestTimeTooSkewed" => {
            Error::Denied { act, detail: format!("{detail}; set the clock of this machine") }
        }
        401 | 403 => Error::Denied { act, detail },
        501 => Error::Refused { act, detail },
        408 | 409 | 425 | 429 | 500..=599 => Error::Unavailable { act, detail },
        301 | 307 | 308 => Error::Refused { act, detail: format!("{detail}; is the region right?") },
        _ => Error::Refused { act, detail },
    }
}

fn silence(act: Box<Act>, host: &str, text: &str) -> Error {
    let detail = format!("{host}: {text}");
    let untrusted =
        ["certificate", "UnknownIssuer", "NotValidForName"].iter().any(|sign| text.contains(sign));
    if untrusted {
        Error::Refused { act, detail: format!("{detail}; name its authority with --ca-file") }
    } else {
        Error::Unavailable { act, detail }
    }
}

/// The server answered as if all were well, and yet the answer cannot be used; or nothing was sent at all.
fn unheard(act: Box<Act>, e: &object_store::Error) -> Error {
    use object_store::Error as E;
    match e {
        E::NotFound { .. } => Error::NotFound { act },
        E::AlreadyExists { .. } | E::Precondition { .. } if act.verb == Verb::Create => Error::Exists { act },
        E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
            Error::Refused { act, detail: chain(e) }
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Error::Denied { act, detail: chain(e) },
        e => Error::Unavailable { act, detail: format!("{SENSELESS}: {}", chain(e)) },
    }
}

const SENSELESS: &str = "its answer makes no sense";

/// Whether the range that was asked for may be what is wrong. The protocols say 416; some servers answer with
/// another range, or with the whole object, which the library refuses to take.
pub(super) fn doubts_the_range(e: &Error) -> bool {
    match e {
        Error::OutOfRange { .. } => true,
        Error::Unavailable { detail, .. } => detail.starts_with(SENSELESS),
        _ => false,
    }
}

fn shown(status: StatusCode, code: &str, message: &str) -> String {
    let said = [code, message].into_iter().filter(|part| !part.is_empty());
    let said = said.collect::<Vec<_>>().join(": ");
    if said.is_empty() { status.to_string() } else { format!("{}: {said}", status.as_u16()) }
}

fn is_missing_place(code: &str, message: &str) -> bool {
    matches!(code, "NoSuchBucket" | "ContainerNotFound" | "ResourceNotFound")
        || message.contains("bucket does not exist")
}

/// 409 of AWS where nothing landed: try again.
fn is_passing(code: &str) -> bool {
    matches!(code, "ConditionalRequestConflict" | "OperationAborted")
}

fn is_damaged_on_the_way(code: &str) -> bool {
    let damaged = ["BadDigest", "IncompleteBody", "RequestTimeout", "Mismatch", "Md5Mismatch"];
    damaged.iter().any(|sign| code.contains(sign))
}

fn is_about_credentials(code: &str) -> bool {
    ["Token", "AccessKey", "Credential", "Authorization", "Authentication"].iter().any(|s| code.contains(s))
}

fn gives_credentials(host: &str) -> bool {
    is_instance_metadata(host)
        || host.starts_with("sts.")
        || matches!(host, "login.microsoftonline.com" | "oauth2.googleapis.com")
}

fn is_instance_metadata(host: &str) -> bool {
    host.starts_with("169.254.") || host.starts_with("[fd00:ec2:") || host == "metadata.google.internal"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use world::{Remedied, Remedy};

    fn meant(verb: Verb, status: u16, code: &str) -> Error {
        let act = Box::new(Act { verb, object: "packs/a".into(), place: Place::new("s3://b/p") });
        let status = StatusCode::from_u16(status).unwrap();
        let heard =
            Heard::Refusal { host: "h".into(), status, code: code.into(), message: "so it is".into() };
        of(act, unhelpful(), Some(heard))
    }

    fn unhelpful() -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: "something".into() }
    }

    #[test]
    fn a_status_and_a_code_mean_one_remedy() {
        for (verb, status, code, remedy) in [
            (Verb::Get, 404, "NoSuchKey", Remedy::Repair),
            (Verb::Get, 404, "NoSuchBucket", Remedy::Correct),
            (Verb::Put, 403, "AccessDenied", Remedy::Correct),
            (Verb::Put, 403, "QuotaExceeded", Remedy::Stop),
            (Verb::Put, 507, "XMinioStorageFull", Remedy::Stop),
            (Verb::Put, 400, "ExpiredToken", Remedy::Correct),
            (Verb::Put, 400, "XAmzContentChecksumMismatch", Remedy::Retry),
            (Verb::Put, 400, "InvalidArgument", Remedy::Correct),
            (Verb::Put, 409, "OperationAborted", Remedy::Retry),
            (Verb::Create, 409, "ConditionalRequestConflict", Remedy::Retry),
            (Verb::Create, 412, "PreconditionFailed", Remedy::Correct),
            (Verb::Create, 501, "NotImplemented", Remedy::Correct),
            (Verb::Get, 503, "SlowDown", Remedy::Retry),
            (Verb::Get, 429, "", Remedy::Retry),
            (Verb::Get, 500, "InternalError", Remedy::Retry),
            (Verb::Get, 301, "PermanentRedirect", Remedy::Correct),
        ] {
            let error = meant(verb, status, code);
            assert_eq!(error.remedy(), remedy, "{status} {code}: {error}");
        }
    }

    #[test]
    fn a_refusal_is_told_as_a_sentence() {
        assert_eq!(
            meant(Verb::Get, 403, "InvalidAccessKeyId").to_string(),
            "read packs/a in s3://b/p: access is denied (403: InvalidAccessKeyId: so it is)"
        );
        assert!(meant(Verb::Put, 403, "RequestTimeTooSkewed").to_string().contains("set the clock"));
    }

    #[test]
    fn silence_of_the_instance_metadata_means_that_there_are_no_credentials() {
        let act = Box::new(Act { verb: Verb::Get, object: "a".into(), place: Place::new("s3://b") });
        let heard = Heard::Silence { host: "169.254.169.254".into(), text: "connect".into() };
        let error = of(act, unhelpful(), Some(heard));
        assert!(
            matches!(&error, Error::Denied { detail, .. } if detail.contains("no credentials")),
            "{error}"
        );
    }
}
