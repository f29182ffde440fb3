//! Whether the files that the configuration names are there and may be read, so that a forgotten volume is found with
//! all other mistakes. What is in them is looked at by those who use them.

use std::path::Path;

use super::outside::Outside;
use super::problems::{Problems, quoted};
use super::{ApiServer, Config, KubeletCa, KubeletToken, Target};

/// Adds a problem for every file that cannot be read.
pub fn check(config: &Config, outside: &Outside, problems: &Problems) {
    for (key, path) in named(config) {
        let wrong = match (outside.read)(path) {
            Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
            Ok(_) => continue,
            Err(error) => format!("cannot be read: {error}"),
        };
        problems.push(format!(
            "`{key}` is `{}`, which {wrong}; name a file that is there and that this process may read (files are looked \
             for on the machine that this runs on)",
            quoted(&path.to_string_lossy())
        ));
    }
}

/// Every file of credentials with the key that names it.
fn named<'c>(config: &'c Config) -> Vec<(String, &'c Path)> {
    let mut files: Vec<(String, &Path)> = Vec::new();
    let mut add = |key: &str, path: &'c Path| files.push((key.to_owned(), path));
    let source = &config.source;
    match &source.api {
        ApiServer::InCluster { .. } => {}
        ApiServer::Kubeconfig(path) => add("source.kubernetes.api-server", path),
        ApiServer::Url { token_file, certificate_authority, .. } => {
            token_file.iter().for_each(|path| add("source.kubernetes.token-file", path));
            certificate_authority.iter().for_each(|path| add("source.kubernetes.certificate-authority", path));
        }
    }
    if let KubeletCa::File(path) = &source.kubelet.certificate_authority {
        add("source.kubernetes.kubelet.certificate-authority", path);
    }
    if let Some((certificate, key)) = &source.kubelet.client_certificate {
        add("source.kubernetes.kubelet.client-certificate", certificate);
        add("source.kubernetes.kubelet.client-key", key);
    }
    if let KubeletToken::File(path) = &source.kubelet.token {
        add("source.kubernetes.kubelet.token-file", path);
    }
    config.http.files().into_iter().for_each(|(key, path)| add(key, path));
    if let Some(path) = config.historical.as_ref().and_then(|historical| historical.certificate_authority.as_deref()) {
        add("historical.certificate-authority", path);
    }
    for (at, sink) in config.sinks.iter().enumerate() {
        let (authority, own) = match &sink.target {
            Target::Influxdb(config) => (&config.certificate_authority, None),
            Target::Prometheus(config) => (&config.certificate_authority, None),
            Target::Kafka(config) => (&config.certificate_authority, config.certificate.as_ref()),
            Target::Log(_) => continue,
        };
        authority.iter().for_each(|path| add(&format!("sink[{at}].certificate-authority"), path));
        if let Some((certificate, key)) = own {
            add(&format!("sink[{at}].certificate"), certificate);
            add(&format!("sink[{at}].certificate-key"), key);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::config::{Inputs, load};

    #[test]
    fn every_file_that_is_missing_is_named_with_its_key() {
        let text = "[source.kubernetes]\napi-server = 'https://api'\ntoken-file = '/there'\n\
                    certificate-authority = '/ca'\n\
                    [source.kubernetes.kubelet]\ncertificate-authority = '/kca'\nclient-certificate = '/cert'\n\
                    client-key = '/secret'\ntoken-file = '/empty'\n\
                    [[sink]]\ntype = 'log'\n\
                    [[sink]]\ntype = 'influxdb'\nurl = 'https://db'\ncertificate-authority = '/dbca'\n\
                    [[sink]]\ntype = 'kafka'\nbrokers = ['k:9093']\ncertificate = '/kcert'\ncertificate-key = '/there'\n\
                    [[sink]]\ntype = 'prometheus-remote-write'\nurl = 'https://p'\ncertificate-authority = '/pca'";
        let mut outside = Outside::nothing();
        outside.read = Box::new(move |path| match path.to_str() {
            Some("/c.toml") => Ok(text.to_owned()),
            Some("/there") => Ok("token".to_owned()),
            Some("/empty") => Ok("\n".to_owned()),
            Some("/secret") => Err(Error::from(ErrorKind::PermissionDenied)),
            _ => Err(Error::from(ErrorKind::NotFound)),
        });
        let inputs = || Inputs { file: Some("/c.toml".into()), ..Inputs::default() };
        let errors = load(&inputs(), &outside).unwrap_err().errors;
        let kubelet = "source.kubernetes.kubelet";
        let want = [
            "`source.kubernetes.certificate-authority` is `/ca`, which cannot be read: entity not found; name"
                .to_owned(),
            format!("`{kubelet}.certificate-authority` is `/kca`"),
            format!("`{kubelet}.client-certificate` is `/cert`"),
            format!("`{kubelet}.client-key` is `/secret`, which cannot be read: permission denied; name"),
            format!("`{kubelet}.token-file` is `/empty`, which is empty; name"),
            "`sink[1].certificate-authority` is `/dbca`".to_owned(),
            "`sink[2].certificate` is `/kcert`".to_owned(),
            "`sink[3].certificate-authority` is `/pca`".to_owned(),
        ];
        assert_eq!(errors.len(), want.len(), "{errors:?}");
        for (error, want) in errors.iter().zip(want) {
            assert!(error.starts_with(&want), "{error}\n{want}");
        }
        // Where the configuration is only carried over, it is for another machine.
        outside.resolve_secrets = false;
        assert!(load(&inputs(), &outside).is_ok());
    }
}
