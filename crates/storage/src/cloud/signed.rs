//! Requests with credentials that may be taken back while a run goes on.
//!
//! Most credentials say when they expire and are renewed before. A server may see that otherwise: it was restarted with
//! other keys, a token was withdrawn, a clock is wrong. Then everything that was found out about credentials is thrown
//! away and asked for anew (files, processes, tokens, metadata), once for all requests that were refused together, and the
//! request is sent again.

use std::future::Future;
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;

use super::courier::Heard;
use super::meaning;

/// How often in a row one request may ask for new credentials: those that others have just used up may be fetched too.
const RENEWALS_MAX: u32 = 3;

type Make = Box<dyn Fn() -> Result<Box<dyn ObjectStore>, String> + Send + Sync>;

/// A client, and how to make one that has never seen any credentials.
pub(super) struct Signed {
    make: Make,
    /// Whether another client may find other credentials.
    renewable: bool,
    /// The client and how many there were before it.
    current: Mutex<(u64, Arc<dyn ObjectStore>)>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signed")
    }
}

impl Signed {
    /// Makes the first client.
    pub(super) fn new(make: Make, renewable: bool) -> Result<Signed, String> {
        let first = Arc::from(make()?);
        Ok(Signed { make, renewable, current: Mutex::new((0, first)) })
    }

    /// Asks `work` of a client, and again of a new one where the credentials are refused as too old.
    pub(super) async fn ask<T, F>(
        &self,
        work: impl Fn(Arc<dyn ObjectStore>) -> F + Send + Sync,
    ) -> (T, Option<Heard>)
    where
        F: Future<Output = (T, Option<Heard>)> + Send,
    {
        let mut renewals = 0;
        loop {
            let (number, client) = self.current();
            let (answer, heard) = work(client).await;
            let again = self.renewable && renewals < RENEWALS_MAX;
            if !again || !meaning::wants_new_credentials(heard.as_ref()) || !self.renew(number) {
                return (answer, heard);
            }
            renewals += 1;
        }
    }

    fn current(&self) -> (u64, Arc<dyn ObjectStore>) {
        self.current.lock().expect("no holder of this lock panics").clone()
    }

    /// Puts another client in the place of the one with this number, unless somebody did. Whether there is another.
    fn renew(&self, number: u64) -> bool {
        let mut current = self.current.lock().expect("no holder of this lock panics");
        if current.0 != number {
            return true;
        }
        // A profile that cannot be read at this moment: what the server said is then the better answer.
        let Ok(client) = (self.make)() else { return false };
        *current = (number + 1, Arc::from(client));
        true
    }
}
