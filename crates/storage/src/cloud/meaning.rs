//! What a refusal means for us, whatever provider it comes from.
//!
//! Decided by status first and by the provider's code where the status says too little: 403 is a lack of
//! rights, of room or of a right clock; 404 is a missing object or a missing bucket; 400 is sometimes our
//! fault and sometimes a body that was damaged on the way.

use http::StatusCode;

use super::courier::{Heard, Peer, Refusal, chain};
use crate::{Act, Error, Obstacle, Verb};

/// Clocks that differ by less are good enough for everybody.
const SKEW_S_MAX: u64 = 300;

/// The error that `e` and what was heard on the way mean for `act`.
pub(super) fn of(act: Box<Act>, e: object_store::Error, heard: Option<Heard>) -> Error {
    match heard {
        Some(Heard::NoCredentials { text }) => Error::Denied { act, detail: text },
        Some(Heard::Refusal(peer, said)) if said.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let proxy = peer.proxy.unwrap_or(peer.authority);
            obstructed(act, Obstacle::ProxyLogin, format!("{proxy}: {}", said.status))
        }
        Some(Heard::Refusal(peer, said)) if gives_credentials(&peer) => {
            let detail = format!("no credentials from {peer}: {}", shown(&said));
            if is_expired(&said.code) {
                obstructed(act, Obstacle::Expired, detail)
            } else if said.status.is_server_error() || said.status == StatusCode::TOO_MANY_REQUESTS {
                Error::Unavailable { act, detail }
            } else {
                Error::Denied { act, detail }
            }
        }
        Some(Heard::Silence { peer, .. }) if is_instance_metadata(&peer.host) => {
            let detail = "no credentials were found: neither the environment nor a profile has any, and no \
                          instance metadata answers"
                .to_owned();
            Error::Denied { act, detail }
        }
        Some(Heard::Refusal(peer, said)) => refusal(act, &peer, &said),
        Some(Heard::Silence { peer, text, unconnected }) => silence(act, &peer, &text, unconnected),
        None => unheard(act, &e),
    }
}

/// Whether other credentials may be taken where these were.
pub(super) fn wants_new_credentials(heard: Option<&Heard>) -> bool {
    match heard {
        Some(Heard::Refusal(peer, said)) if !gives_credentials(peer) => {
            said.status == StatusCode::UNAUTHORIZED
                || is_expired(&said.code)
                || matches!(&*said.code, "InvalidToken" | "InvalidAccessKeyId")
        }
        _ => false,
    }
}

fn refusal(act: Box<Act>, peer: &Peer, said: &Refusal) -> Error {
    let code = &*said.code;
    let mut detail = shown(said);
    if let Some(proxy) = &peer.proxy {
        detail = format!("{detail}; through the proxy {proxy}");
    }
    let denied = |act, detail| match skew(said) {
        Some(clocks) => Error::Denied { act, detail: format!("{detail}; {clocks}") },
        None => Error::Denied { act, detail },
    };
    match said.status.as_u16() {
        404 if is_missing_place(code, &said.message) => Error::NoPlace { act, detail },
        404 if act.verb == Verb::List => {
            Error::NoPlace { act, detail: format!("{detail}; is it the store that answers there?") }
        }
        404 => Error::NotFound { act },
        412 | 409 if act.verb == Verb::Create && !is_passing(code) => Error::Exists { act },
        // The caller knows what was asked for, and finds out the size.
        416 => Error::OutOfRange { act, asked: 0..0, size: 0 },
        507 => Error::Full { act, detail },
        400 | 403 if code.contains("Quota") || code.contains("StorageFull") => Error::Full { act, detail },
        400 if is_damaged_on_the_way(code) => Error::Unavailable { act, detail },
        400 | 401 | 403 if is_expired(code) => obstructed(act, Obstacle::Expired, detail),
        400 | 403 if is_about_clocks(code) => {
            let clocks = skew(said).map_or(String::new(), |clocks| format!("; {clocks}"));
            obstructed(act, Obstacle::Clock, format!("{detail}{clocks}"))
        }
        400 if is_about_credentials(code) => denied(act, detail),
        401 | 403 => denied(act, detail),
        501 => Error::Refused { act, detail },
        // An answer to HEAD has no code that could tell whether it is slow or down.
        429 | 503 => Error::Busy { act, wait: said.wait, detail },
        500..=599 if said.wait.is_some() || is_throttling(code) => {
            Error::Busy { act, wait: said.wait, detail }
        }
        408 | 409 | 425 | 500..=599 => Error::Unavailable { act, detail },
        301 | 307 | 308 => Error::Refused { act, detail: format!("{detail}; is the region right?") },
        _ => Error::Refused { act, detail },
    }
}

fn obstructed(act: Box<Act>, obstacle: Obstacle, detail: String) -> Error {
    Error::Obstructed { act, obstacle, detail }
}

/// What both clocks say, if they differ too much.
fn skew(said: &Refusal) -> Option<String> {
    let (ours, theirs) = said.clocks?;
    let shown = |s: i64| jiff::Timestamp::from_second(s).map_or_else(|_| s.to_string(), |at| at.to_string());
    (ours.abs_diff(theirs) > SKEW_S_MAX)
        .then(|| format!("this machine says it is {}, the server {}", shown(ours), shown(theirs)))
}

/// The libraries below tell apart what happened only in words.
fn silence(act: Box<Act>, peer: &Peer, text: &str, unconnected: bool) -> Error {
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let obstacle = match peer.proxy {
        // An authority that was made anew under its old name shows as a bad signature.
        _ if has(&["UnknownIssuer", "BadSignature"]) => Some(Obstacle::UnknownAuthority),
        _ if has(&["not valid for name", "NotValidForName"]) => Some(Obstacle::OtherHost),
        _ if has(&["certificate expired", "certificate not valid yet"]) => Some(Obstacle::CertificateTime),
        _ if has(&["invalid peer certificate"]) => Some(Obstacle::BadCertificate),
        _ if has(&["InvalidContentType"]) => Some(Obstacle::NoTls),
        Some(_) if has(&["proxy authorization required"]) => Some(Obstacle::ProxyLogin),
        Some(_) if unconnected => Some(Obstacle::Proxy),
        None if has(&["failed to lookup address"]) && !has(&["Temporary failure", "Try again"]) => {
            Some(Obstacle::UnknownHost)
        }
        _ => None,
    };
    let text = ["HTTP error: ", "error sending request: ", "client error (Connect): "]
        .iter()
        .fold(text, |text, opening| text.strip_prefix(opening).unwrap_or(text));
    let detail = format!("{peer}: {text}");
    match obstacle {
        Some(obstacle) => obstructed(act, obstacle, detail),
        None => Error::Unavailable { act, detail },
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

fn shown(said: &Refusal) -> String {
    let status = said.status;
    let parts = [&*said.code, &*said.message].into_iter().filter(|part| !part.is_empty());
    let words = parts.collect::<Vec<_>>().join(": ");
    if words.is_empty() { status.to_string() } else { format!("{}: {words}", status.as_u16()) }
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

/// Of what was good once; `RequestExpired` is about a clock.
fn is_expired(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "ExpiredAuthenticationToken"
    )
}

fn is_about_clocks(code: &str) -> bool {
    matches!(code, "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture")
}

fn is_throttling(code: &str) -> bool {
    ["SlowDown", "Throttl", "ServerBusy", "TooManyRequests", "RequestLimitExceeded"]
        .iter()
        .any(|sign| code.contains(sign))
}

fn gives_credentials(peer: &Peer) -> bool {
    let host = &*peer.host;
    peer.gives_credentials
        || is_instance_metadata(host)
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

    fn peer(host: &str) -> Peer {
        Peer { host: host.into(), authority: host.into(), ..Peer::default() }
    }

    fn act(verb: Verb) -> Box<Act> {
        Box::new(Act { verb, object: "packs/a".into(), place: Place::new("s3://b/p") })
    }

    fn said(status: u16, code: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal { status, code: code.into(), message: "so it is".into(), wait: None, clocks: None }
    }

    fn meant(verb: Verb, status: u16, code: &str) -> Error {
        of(act(verb), unhelpful(), Some(Heard::Refusal(peer("h"), said(status, code))))
    }

    fn unhelpful() -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: "something".into() }
    }

    #[test]
    fn a_status_and_a_code_mean_one_remedy() {
        for (verb, status, code, remedy) in [
            (Verb::Get, 404, "NoSuchKey", Remedy::Repair),
            (Verb::Get, 404, "NoSuchBucket", Remedy::Correct),
            (Verb::List, 404, "", Remedy::Correct),
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
            (Verb::Get, 403, "RequestTimeTooSkewed", Remedy::Correct),
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
        assert!(matches!(meant(Verb::Get, 503, "SlowDown"), Error::Busy { wait: None, .. }));
        assert!(matches!(meant(Verb::Size, 503, ""), Error::Busy { .. }));
        assert!(matches!(meant(Verb::Get, 502, ""), Error::Unavailable { .. }));
    }

    #[test]
    fn clocks_that_differ_are_told_with_every_denial() {
        for (code, told) in [
            ("RequestTimeTooSkewed", "the clock of this machine and that of the server differ too much"),
            ("AccessDenied", "access is denied"),
        ] {
            let refusal = Refusal { clocks: Some((18_000, 0)), ..said(403, code) };
            let error = of(act(Verb::Get), unhelpful(), Some(Heard::Refusal(peer("h"), refusal)));
            let clocks = "this machine says it is 1970-01-01T05:00:00Z, the server 1970-01-01T00:00:00Z";
            assert!(error.to_string().contains(told) && error.to_string().contains(clocks), "{error}");
            let refusal = Refusal { clocks: Some((200, 0)), ..said(403, code) };
            let error = of(act(Verb::Get), unhelpful(), Some(Heard::Refusal(peer("h"), refusal)));
            assert!(!error.to_string().contains("this machine says"), "{error}");
        }
    }

    #[test]
    fn what_lies_between_us_and_the_place_has_a_name() {
        use Obstacle as O;
        let through = Peer { proxy: Some("http://p:1".into()), ..peer("h") };
        for (peer, text, obstacle) in [
            (peer("h"), "invalid peer certificate: UnknownIssuer", Some(O::UnknownAuthority)),
            (through.clone(), "invalid peer certificate: UnknownIssuer", Some(O::UnknownAuthority)),
            (peer("h"), "certificate not valid for name \"h\"; it is", Some(O::OtherHost)),
            (peer("h"), "certificate expired: verification time", Some(O::CertificateTime)),
            (peer("h"), "invalid peer certificate: BadEncoding", Some(O::BadCertificate)),
            (peer("h"), "received corrupt message of type InvalidContentType", Some(O::NoTls)),
            (
                peer("h"),
                "failed to lookup address information: Name or service not known",
                Some(O::UnknownHost),
            ),
            (peer("h"), "failed to lookup address information: Temporary failure in name", None),
            (through.clone(), "failed to lookup address information: Name or service", Some(O::Proxy)),
            (through.clone(), "proxy authorization required", Some(O::ProxyLogin)),
            (through, "tunnel error: unsuccessful", Some(O::Proxy)),
            (peer("h"), "connection refused", None),
        ] {
            let heard = Heard::Silence { peer, text: text.into(), unconnected: true };
            match of(act(Verb::Get), unhelpful(), Some(heard)) {
                Error::Obstructed { obstacle: found, .. } => assert_eq!(Some(found), obstacle, "{text}"),
                error => assert!(matches!(error, Error::Unavailable { .. }) && obstacle.is_none(), "{error}"),
            }
        }
    }

    #[test]
    fn silence_of_the_instance_metadata_means_that_there_are_no_credentials() {
        let heard =
            Heard::Silence { peer: peer("169.254.169.254"), text: "connect".into(), unconnected: true };
        let error = of(act(Verb::Get), unhelpful(), Some(heard));
        assert!(
            matches!(&error, Error::Denied { detail, .. } if detail.contains("no credentials")),
            "{error}"
        );
    }
}
