//! The referee must see.

use super::{DEFAULT, Dump, WITH_FIELDS, allowed, differences, parse, series_key};

const RECORDED: &str = "\
    property\tdatabase k8s\tpresent\n\
    property\tfield value of rate\tfloat\n\
    times\t2026-11-21T09:11:10Z\t2026-11-21T09:11:20Z\n\
    point\trate,pod_name=web-1\tvalue\t-\t0.1\n\
    point\tuptime,pod_name=web-1\tvalue\t65001\t75001\n";
/// A minute and a bit later, and exact: the pod started at 09:10:10.
const OURS: &str = "\
    property\tdatabase k8s\tpresent\n\
    property\tfield value of rate\tfloat\n\
    times\t2026-11-21T09:12:10.0005Z\t2026-11-21T09:12:20Z\n\
    point\trate,pod_name=web-1\tvalue\t-\t0.1\n\
    point\tuptime,pod_name=web-1\tvalue\t120000\t130000\n";

fn dump(text: &str) -> Dump {
    parse(text).unwrap()
}

#[test]
fn another_hour_of_the_day_is_no_difference() {
    assert_eq!(differences(&dump(RECORDED), &dump(OURS)), [].into());
}

#[test]
fn every_other_difference_is_seen() {
    for (there, instead, seen) in [
        ("database k8s\tpresent", "database k8sf\tpresent", "database k8s: present, -; database k8sf: -, present"),
        ("rate\tfloat", "rate\tinteger", "field value of rate: float, integer"),
        ("-\t0.1", "-\t0.10000000000000002", "rate,pod_name=web-1 value: 0.100000, 0.100000"),
        ("-\t0.1", "-\t-", "rate,pod_name=web-1 value: 0.100000, -"),
        ("-\t0.1", "0\t0.1", "rate,pod_name=web-1 value: -, 0.000000"),
        (
            "rate,pod_name=web-1\t",
            "rate,pod_name=web-2\t",
            "rate,pod_name=web-1 value: 0.100000, -; rate,pod_name=web-2 value: -, 0.100000",
        ),
        ("\tvalue\t-", "\trate\t-", "rate,pod_name=web-1 rate: -, 0.1; rate,pod_name=web-1 value: 0.100000, -"),
        ("130000", "131000", "uptime,pod_name=web-1 value: 75001, 131000"),
        ("130000", "129000", "uptime,pod_name=web-1 value: 75001, 129000"),
        (":20Z", ":20Z\t2026-11-21T09:12:30Z", "number of times: 2, 3"),
    ] {
        assert!(OURS.contains(there), "{there}");
        let found = differences(&dump(RECORDED), &dump(&OURS.replace(there, instead)));
        let found: Vec<String> =
            found.iter().map(|one| format!("{}: {}, {}", one.what, one.recorded, one.ours)).collect();
        let mut seen: Vec<&str> = seen.split("; ").collect();
        seen.sort_by_key(|seen| found.iter().position(|one| one == seen));
        assert_eq!(found, seen, "{there:?} became {instead:?}");
    }
}

#[test]
fn a_series_is_named_as_the_server_names_it() {
    let tags = [("empty", ""), ("labels", "app:a,tier:b c=d")];
    assert_eq!(series_key("a b,c=d", tags.into_iter()), "a\\ b\\,c=d,labels=app:a\\,tier:b\\ c\\=d");
}

#[test]
fn a_patch_of_a_metric_set_becomes_one_of_a_series() {
    let series = "container_base_image=app:1,container_name=main,labels=app:nostats,namespace_name=team-x,\
                  nodename=node-a,pod_name=nostats,type=pod_container";
    for (mode, what) in [
        (DEFAULT, format!("cpu/request,cluster_name=default,{series} value")),
        (WITH_FIELDS, format!("cpu,cluster_name=prod,{series} request")),
    ] {
        let allowed = allowed(mode, 1).unwrap();
        let one = allowed.iter().find(|patch| patch.what == what).unwrap();
        assert_eq!((one.batch, one.recorded.as_str(), one.ours.as_str()), (1, "-", "700"));
    }
}
