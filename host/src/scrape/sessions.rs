//! What kubelets gave us to open the next connection cheaply: one TLS 1.3 ticket each.
//!
//! A connection lives for one request. Kept open until the next cycle it would hold the buffer that
//! the last answer needed, some hundred KiB a node; with a ticket a new one costs neither side a
//! signature.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Tickets kept; more kubelets than any cluster has.
const MOST: usize = 20_000;

/// Remembers tickets until the authority changes. TLS 1.2, which no living kubelet is limited to,
/// starts anew each time.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<ServerName<'static>, Session>>);

#[derive(Debug, Default)]
struct Session {
    group: Option<NamedGroup>,
    ticket: Option<Tls13ClientSessionValue>,
}

impl Sessions {
    /// Forgets everything: a resumed session shows no certificate, so that none would be checked
    /// against a new authority.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, server: ServerName<'static>, change: impl FnOnce(&mut Session)) {
        let mut sessions = self.lock();
        if sessions.len() >= MOST && !sessions.contains_key(&server) {
            // Nodes come and go; the living soon have tickets again.
            sessions.clear();
        }
        change(sessions.entry(server).or_default());
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.change(server, |session| session.group = Some(group));
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().get(server)?.group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.change(server, |session| session.ticket = Some(ticket));
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().get_mut(server)?.ticket.take()
    }
}
