//! What we may: each right that Millrace needs, asked of the API server before it is missed.

use futures::future::join_all;
use serde_json::{Value, json};

use super::asker::Asker;
use super::cluster::{Reached, text};
use super::grant::{By, Right, Subject, asks_with_ours, manifest, needed};
use crate::config::Config;
use crate::finding::Finding;

const OWN: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const OTHERS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Running commands in every pod of a node is among what it allows.
const PROXY: Right = Right {
    verb: "get",
    group: "",
    resource: "nodes",
    subresource: "proxy",
    namespace: "",
    name: "",
    purpose: "",
    by: By::Rule,
};

/// Asks for every right that the configuration needs.
pub(super) async fn examine(
    asker: &Asker,
    config: &Config,
    reached: &Reached,
    service_account: Option<&(String, String)>,
) -> Vec<Finding> {
    let named = service_account.map(|(namespace, name)| Subject::ServiceAccount(namespace.clone(), name.clone()));
    let needed = needed(config);
    let asked = needed.iter().chain([&PROXY]).map(|right| ask(asker, right, named.as_ref()));
    let mut answers = join_all(asked).await;
    let proxy = answers.pop();
    let mut findings = of_answers(&needed, &answers);
    let missing: Vec<Right> = needed
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Ok(No(_))))
        .map(|(right, _)| *right)
        .collect();
    if !missing.is_empty() {
        findings.push(grant(&missing, named.or_else(|| reached.user.as_deref().map(Subject::of))));
    }
    if let Some(Ok(Yes)) = proxy {
        let says = "may also get nodes/proxy, which allows running commands in every pod; Millrace does not need it";
        findings.push(Finding::note("rights.proxy", "nodes/proxy", says));
    }
    if !asks_with_ours(config) && config.source.kubelet.https {
        let says = "kubelets are shown credentials of their own (`token-file`, `client-certificate`, or none): what \
                    those may is seen when the kubelets answer";
        findings.push(Finding::note("rights.kubelets", "nodes/stats", says));
    }
    findings
}

/// What the API server says.
enum Verdict {
    Yes,
    /// With its reason.
    No(String),
}
use Verdict::{No, Yes};

async fn ask(asker: &Asker, right: &Right, subject: Option<&Subject>) -> Result<Verdict, String> {
    let mut spec = json!({"resourceAttributes": right.attributes()});
    let (path, kind) = match subject {
        None => (OWN, "SelfSubjectAccessReview"),
        Some(subject) => {
            spec["user"] = json!(subject.user());
            spec["groups"] = groups(subject);
            (OTHERS, "SubjectAccessReview")
        }
    };
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let answer = asker.post(path, &review).await.map_err(|silence| silence.why)?;
    let status = &answer.json["status"];
    match status["allowed"].as_bool() {
        Some(true) if status["denied"] != true => Ok(Yes),
        Some(_) => {
            let reasons = [text(&status["reason"]), text(&status["evaluationError"])];
            Ok(No(reasons.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default()))
        }
        None => Err(format!("{kind}: {}: {}", answer.status, answer.message())),
    }
}

fn groups(subject: &Subject) -> Value {
    match subject {
        Subject::ServiceAccount(namespace, _) => {
            json!(["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"])
        }
        Subject::User(_) => json!(["system:authenticated"]),
    }
}

/// One line for all that is allowed, one for each that is not.
fn of_answers(needed: &[Right], answers: &[Result<Verdict, String>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut allowed = Vec::new();
    let mut unknown: Option<&str> = None;
    for (right, answer) in needed.iter().zip(answers) {
        let what = format!("{} {}", right.verb, right.what());
        match answer {
            Ok(Yes) => allowed.push(what),
            Ok(No(reason)) => {
                let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
                let says = format!("not allowed, and needed {}{because}", right.purpose);
                let remedy = "grant it: the YAML below";
                findings.push(Finding::failure("rights.missing", &what, &says, remedy));
            }
            Err(why) => unknown = Some(why),
        }
    }
    if let Some(why) = unknown {
        let says = format!("the API server does not say what we may: {why}");
        let remedy = "everybody who is known may ask by the ClusterRole system:basic-user: is it bound to \
                      system:authenticated? For `--service-account` one must be allowed to create \
                      subjectaccessreviews";
        findings.push(Finding::warning("rights.unknown", "", &says, remedy));
    }
    if !allowed.is_empty() {
        findings.insert(0, Finding::ok("rights.allowed", "", &allowed.join(", ")).fact("rights", allowed));
    }
    findings
}

fn grant(missing: &[Right], subject: Option<Subject>) -> Finding {
    let known = subject.is_some();
    // The one of the manifests.
    let subject = subject.unwrap_or_else(|| Subject::ServiceAccount("kube-system".to_owned(), "millrace".to_owned()));
    let guess = if known { "" } else { "; put Millrace's own service account into it" };
    let says = format!("this grants `{}` what is missing{guess}: kubectl apply -f -", subject.user());
    Finding::note("rights.grant", "", &says).manifest(manifest(missing, &subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn each_missing_right_has_a_line_and_all_others_share_one() {
        let needed = needed(&Config::default());
        let answers: Vec<Result<Verdict, String>> = needed
            .iter()
            .map(|right| match (right.resource, right.verb) {
                ("pods", "watch") => Ok(No("no RBAC policy matched".to_owned())),
                ("namespaces", _) => Err("403".to_owned()),
                _ => Ok(Yes),
            })
            .collect();
        let findings = of_answers(&needed, &answers);
        let told: Vec<_> = findings.iter().map(|finding| (finding.check, finding.status)).collect();
        assert_eq!(
            told,
            [("rights.allowed", Status::Ok), ("rights.missing", Status::Failure), ("rights.unknown", Status::Warning)]
        );
        assert_eq!(findings[0].says, "list nodes, watch nodes, list pods, get nodes/stats");
        assert!(findings[1].says.starts_with("not allowed, and needed for labels"), "{}", findings[1].says);
        assert!(findings[1].says.contains("no RBAC policy matched"));
    }

    #[test]
    fn a_grant_for_nobody_known_says_so() {
        let missing = needed(&Config::default());
        let guessed = grant(&missing, None);
        assert!(guessed.says.contains("put Millrace's own") && guessed.manifest.unwrap().contains("name: millrace\n"));
        let known = grant(&missing, Some(Subject::of("anna")));
        assert!(!known.says.contains("put Millrace's own") && known.manifest.unwrap().contains("kind: User"));
    }
}
