//! The process's one cryptography provider. It knows nothing of certificates or tokens.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Makes ring the provider of every TLS configuration of this process. Call it before the first
/// client is built; calling it again does nothing.
pub fn install_provider() {
    INSTALLED.call_once(|| {
        // An error means that somebody installed one before, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
