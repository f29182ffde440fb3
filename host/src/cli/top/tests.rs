use super::*;
use serde_json::json;

const HOSTILE: &str = "\x1b]0;owned\x07\u{9b}2J\rok\nready";

fn status(cycle: u64, points: u64) -> Status {
    let rule = |name: &str, state: &str| {
        json!({
            "name": name, "state": state, "version": "1.2.3", "memory_bytes": 3 << 20,
            "stats": {
                "process_time": {"calls": 20 * cycle, "buckets_us": {"50": 10 * cycle, "100": 10 * cycle}},
                "points_in": points, "points_dropped": points / 2, "points_added": 7 * cycle, "relabelled": 0,
                "faults": {"trap": if state == "parked" { 3 } else { 0 }},
                "last_fault": {"text": "`process` trapped"},
            },
        })
    };
    let nodes: Vec<_> = (0..40)
        .map(|at| {
            let error = (at == 17).then_some(HOSTILE);
            let state = if at == 17 { "timeout" } else { "ok" };
            json!({"name": format!("node-{at:02}"), "state": state, "error": error, "took_ms": at, "points": at})
        })
        .collect();
    let status = json!({
        "version": "0.1.0", "uptime_seconds": cycle * 10, "resolution_ms": 10_000, "ready": true,
        "cycle": {"number": cycle, "nodes_asked": 40, "nodes_answered": 39, "stages": {"total_ms": 12.5}},
        "nodes": nodes,
        "rules": [rule("heapster", "running"), rule("broken", "parked")],
        "shadows": [rule("candidate", "shadow")],
        "sinks": [{"sink": "influxdb", "failing": true, "written": points, "queued": 1500, "dropped": {"rejected": 4},
            "last_error": {"message": "connection refused"}}],
    });
    serde_json::from_value(status).unwrap()
}

fn drawn(view: &mut View, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    view.page = draw::draw(view, area, &mut buffer);
    text::of(&buffer)
}

/// The words of the line that begins with `name`.
fn line<'t>(screen: &'t str, name: &str) -> Vec<&'t str> {
    let line = screen.lines().find(|line| line.trim_start_matches([' ', '›']).starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{screen}")).split_whitespace().collect()
}

#[test]
fn the_first_screen_shows_all_since_the_start_and_the_next_the_cycles_between() {
    let mut view = View::new("http://a");
    assert!(drawn(&mut view, 80, 24).contains("waiting for the first answer"));
    view.answered(status(10, 1000));
    let screen = drawn(&mut view, 80, 24);
    assert!(screen.contains("counts: since the start"), "{screen}");
    assert_eq!(line(&screen, "heapster")[1..], ["running", "200", "50µs", "99µs", "1.0k", "500", "70", "0", "3.0M"]);
    view.answered(status(12, 1400));
    let screen = drawn(&mut view, 80, 24);
    assert_eq!(line(&screen, "heapster")[1..], ["running", "20", "50µs", "99µs", "200", "100", "7", "0", "3.0M"]);
    assert_eq!(line(&screen, "influxdb")[..5], ["influxdb", "failing", "200", "1.5k", "0B"]);
    // The same cycle again changes nothing; a restart begins anew.
    view.answered(status(12, 1400));
    assert_eq!(line(&drawn(&mut view, 80, 24), "heapster")[2], "20");
    view.answered(status(1, 100));
    assert_eq!(line(&drawn(&mut view, 80, 24), "heapster")[2], "20");
    assert!(view.cycles().is_none());
}

#[test]
fn what_fails_stands_first_and_what_is_wrong_is_said_above() {
    let mut view = View::new("http://a");
    view.answered(status(3, 10));
    let screen = drawn(&mut view, 120, 30);
    assert!(screen.contains("rule broken is parked: `process` trapped"), "{screen}");
    assert!(line(&screen, "influxdb").ends_with(&["connection", "refused"]), "{screen}");
    let nodes: Vec<&str> = screen.lines().skip_while(|line| !line.contains("NODES")).skip(1).collect();
    assert!(nodes[0].starts_with(" node-17") && nodes[1].starts_with(" node-39"), "{screen}");
    assert!(screen.contains("/40") && line(&screen, "candidate")[1] == "shadow", "{screen}");
    view.failed("http://a: nobody answers there");
    let screen = drawn(&mut view, 120, 30);
    assert!(screen.contains("no answer for 0 s, tried again: http://a: nobody answers there"), "{screen}");
    assert!(screen.contains("heapster"), "the last answer stays: {screen}");
}

#[test]
fn nothing_from_outside_moves_the_cursor_and_every_size_can_be_drawn() {
    let mut view = View::new(HOSTILE);
    let mut hostile = status(1, u64::MAX);
    hostile.version = HOSTILE.to_owned();
    hostile.not_ready = Some(HOSTILE.to_owned());
    hostile.rules[0].name = HOSTILE.repeat(1000);
    hostile.sinks[0].sink = HOSTILE.to_owned();
    view.answered(hostile);
    for (width, height) in [(0, 0), (1, 1), (10, 3), (40, 5), (80, 24), (200, 50), (500, 200)] {
        let screen = drawn(&mut view, width, height);
        assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
        assert_eq!(screen.lines().count(), usize::from(height));
    }
}

#[test]
fn keys_scroll_and_sort_and_end_it() {
    let mut view = View { keys: true, ..View::new("http://a") };
    view.answered(status(1, 10));
    let screen = |view: &mut View| drawn(view, 80, 24);
    screen(&mut view);
    let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
    assert!(press(&mut view, key(KeyCode::End)));
    assert!(line(&screen(&mut view), "node-00").len() > 1, "the fastest is the last");
    assert!(press(&mut view, key(KeyCode::Home)) && press(&mut view, key(KeyCode::Char('s'))));
    let sorted = screen(&mut view);
    assert!(sorted.contains("s sort (points)"), "{sorted}");
    assert_eq!(sorted.lines().skip_while(|line| !line.contains("NODES")).nth(1).unwrap().trim_start()[..7], *"node-39");
    press(&mut view, key(KeyCode::Down));
    assert_eq!(view.first_node, 1);
    press(&mut view, key(KeyCode::Tab));
    press(&mut view, key(KeyCode::PageDown));
    assert_eq!((view.first_rule, view.first_node), (0, 1), "all rules are seen already");
    assert!(!press(&mut view, key(KeyCode::Char('q'))));
    assert!(!press(&mut view, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}
