//! Draws the screen: who it is, the stages, then rules, sinks and nodes, each as far as there is room.
//! Texts from outside are tamed here, on their way to the terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Widget};

use super::state::{Node, Page, Part, Rule, Sink, Status, View};
use super::text::{average, bytes, count, microseconds, since};
use crate::text::tame;

/// Lines beside the rows: four at the top, three headings, one at the foot.
pub(super) const FIXED: u16 = HEAD + 3 + 1;

const HEAD: u16 = 4;
/// Rows that nodes get before rules get more.
const LEAST_NODES: usize = 4;
/// Rows of sinks at most.
const MOST_SINKS: usize = 8;
/// A name's column.
const LEAST_NAME: u16 = 14;
const MOST_NAME: u16 = 48;
/// What an error gets before a name gets more.
const LEAST_ERROR: u16 = 16;
/// From this width on there is room for more.
const WIDE: u16 = 110;
/// Of one name or error, bytes; longer than any screen is wide.
const TEXT: usize = 500;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const HEADING: Style = Style::new().add_modifier(Modifier::BOLD).add_modifier(Modifier::UNDERLINED);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const WARN: Style = Style::new().fg(Color::Yellow);

/// Draws all of it; how many rows the parts have.
pub(super) fn draw(view: &View, area: Rect, out: &mut Buffer) -> Page {
    let [top, rest, foot] = cut(area);
    head(view, top, out);
    let Some(now) = &view.now else { return Page::default() };
    let wanted = (now.all_rules().count(), now.sinks.len(), now.nodes.len());
    let (rules, sinks, nodes) = share(usize::from(rest.height).saturating_sub(3), wanted);
    let page = Page { rules, nodes };
    let mut y = rest.y;
    let mut place = |rows: usize| {
        let height = (rows as u16 + 1).min(rest.bottom().saturating_sub(y));
        let place = Rect { y, height, ..rest };
        y += height;
        place
    };
    draw_rules(view, now, place(rules), out);
    draw_sinks(view, now, place(sinks), out);
    draw_nodes(view, now, place(nodes), out);
    Line::styled(last_line(view), DIM).render(foot, out);
    page
}

/// The head, what is below it, and the last line.
fn cut(area: Rect) -> [Rect; 3] {
    let head = HEAD.min(area.height);
    let foot = u16::from(area.height > head);
    let rest = area.height - head - foot;
    let part = |y, height| Rect { y: area.y + y, height, ..area };
    [part(0, head), part(head, rest), part(head + rest, foot)]
}

/// Rows of rules, sinks and nodes, of so many.
fn share(rows: usize, (rules, sinks, nodes): (usize, usize, usize)) -> (usize, usize, usize) {
    let sinks = sinks.min(MOST_SINKS).min(rows);
    let left = rows - sinks;
    let rules = rules.min(left.saturating_sub(nodes.min(LEAST_NODES)));
    (rules, sinks, left - rules)
}

fn head(view: &View, area: Rect, out: &mut Buffer) {
    let mut lines = vec![title(view)];
    if let Some(now) = &view.now {
        let cycle = now.cycle.clone().unwrap_or_default();
        lines.push(Line::raw(format!(
            " nodes {}/{}   pods {}   containers {}   points {} in, {} out",
            cycle.nodes_answered,
            cycle.nodes_asked,
            cycle.pods,
            cycle.containers,
            cycle.points_scraped,
            cycle.points_published
        )));
        let stages = &cycle.stages;
        let times = [
            ("scrape", stages.scrape_ms),
            ("decode", stages.decode_ms),
            ("rules", stages.rules_ms),
            ("finish", stages.finish_ms),
            ("tail", stages.tail_ms),
            ("total", stages.total_ms),
        ];
        let times = times.map(|(stage, ms)| format!(" {stage} {} ", microseconds(Some(ms * 1e3))));
        lines.push(Line::raw(times.concat()));
    }
    lines.push(trouble(view));
    Paragraph::new(lines).render(area, out);
}

fn title(view: &View) -> Line<'static> {
    let mut spans = vec![Span::styled(" Millrace", Modifier::BOLD)];
    if let Some(now) = &view.now {
        let (state, style) = if now.ready { ("ready", GOOD) } else { ("not ready", BAD) };
        spans.push(Span::raw(format!(" {} ", tame(&now.version, 40))));
        spans.push(Span::styled(state, style.add_modifier(Modifier::BOLD)));
        let number = now.cycle.as_ref().map_or(0, |cycle| cycle.number);
        let pause = now.resolution_ms as f64 / 1e3;
        spans.push(Span::raw(format!("   up {}   cycle {number}, every {pause} s", since(now.uptime_seconds))));
        if now.counters.missed_ticks > 0 {
            spans.push(Span::styled(format!(", {} missed", now.counters.missed_ticks), WARN));
        }
    }
    spans.push(Span::styled(format!("   {}", tame(&view.address, TEXT)), DIM));
    Line::from(spans)
}

/// What keeps everything from being well, in one line.
fn trouble(view: &View) -> Line<'static> {
    if let Some(why) = &view.trouble {
        let seconds = since(view.heard.elapsed().as_secs());
        return Line::styled(format!(" no answer for {seconds}, tried again: {}", tame(why, TEXT)), BAD);
    }
    let Some(now) = &view.now else { return Line::styled(" waiting for the first answer", DIM) };
    if let Some(why) = &now.not_ready {
        return Line::styled(format!(" {}", tame(why, TEXT)), BAD);
    }
    if now.counters.panics > 0 {
        let text = format!(" {} batches lost by a defect of Millrace: see its log", now.counters.panics);
        return Line::styled(text, BAD);
    }
    let failed = now.all_rules().filter(|rule| matches!(rule.state(), "halted" | "parked"));
    let rule = failed.filter_map(|rule| Some((rule, rule.stats.last_fault.as_ref()?))).next();
    let Some((rule, fault)) = rule else { return Line::default() };
    Line::styled(format!(" rule {} is {}: {}", tame(&rule.name, 60), rule.state(), tame(&fault.text, TEXT)), WARN)
}

/// What the counts of rules and sinks are of, and what keys do.
fn last_line(view: &View) -> String {
    let counts = match view.cycles() {
        None => "since the start",
        Some(1) => "last cycle",
        Some(_) => "a cycle, averaged",
    };
    let order = view.order.word();
    let keys =
        if view.keys { format!("q quit  Tab rules/nodes  ↑↓ scroll  s sort ({order})   ") } else { String::new() };
    format!(" {keys}counts: {counts}")
}

/// A heading with its part's name, how much of it is seen, and what the arrows scroll.
fn heading(view: &View, what: &str, part: Option<Part>, first: usize, shown: usize, all: usize) -> Span<'static> {
    let mark = if view.keys && part == Some(view.part) { "›" } else { " " };
    let seen = if shown < all { format!(" {}-{}/{all}", first + 1, (first + shown).min(all)) } else { String::new() };
    Span::styled(format!("{mark}{what}{seen}"), HEADING)
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::raw(text.into()).right_aligned())
}

fn right_styled(text: impl Into<String>, style: Style) -> Cell<'static> {
    Cell::from(Line::styled(text.into(), style).right_aligned())
}

/// Red where there is something that should not be.
fn trouble_count(number: u64, text: String) -> Cell<'static> {
    right_styled(text, if number > 0 { BAD } else { Style::new() })
}

/// A name's column, those of the figures, and what is left for an error.
fn widths(area: Rect, figures: &[u16], error: u16) -> Vec<Constraint> {
    let taken: u16 = figures.iter().map(|width| width + 1).sum();
    let name = area.width.saturating_sub(taken + error).clamp(LEAST_NAME, MOST_NAME);
    let columns = std::iter::once(&name).chain(figures).map(|&width| Constraint::Length(width));
    columns.chain((error > 0).then_some(Constraint::Fill(1))).collect()
}

fn titles(first: Span<'static>, others: &[&'static str]) -> Row<'static> {
    let others = others.iter().map(|title| Cell::from(Line::styled(*title, HEADING).right_aligned()));
    Row::new(std::iter::once(Cell::from(first)).chain(others))
}

fn draw_rules(view: &View, now: &Status, area: Rect, out: &mut Buffer) {
    let wide = area.width >= WIDE;
    let (all, shown) = (now.all_rules().count(), usize::from(area.height.saturating_sub(1)));
    let title = heading(view, "RULES", Some(Part::Rules), view.first_rule, shown, all);
    let mut columns = vec!["STATE", "CALLS", "p50", "p99", "IN", "DROPPED", "ADDED", "FAILED", "MEMORY"];
    let mut figures = vec![7, 6, 6, 6, 6, 7, 6, 6, 6];
    if wide {
        columns.extend(["LABELS", "VERSION"]);
        figures.extend([6, 14]);
    }
    let rules = now.all_rules().skip(view.first_rule).take(shown);
    let rows = rules.map(|rule| rule_row(view, rule, wide));
    Table::new(rows, widths(area, &figures, 0)).header(titles(title, &columns)).render(area, out);
}

fn rule_row(view: &View, rule: &Rule, wide: bool) -> Row<'static> {
    let cycles = view.cycles();
    let base = view.base.as_ref().filter(|_| cycles.is_some());
    let base = base.and_then(|base| base.all_rules().find(|was| was.name == rule.name && was.state() == rule.state()));
    let (now, was) = (&rule.stats, base.map(|base| &base.stats));
    let more = |of: fn(&super::state::RuleStats) -> u64| of(now).saturating_sub(was.map_or(0, of));
    // A rule that was not there before has all its counts from these cycles.
    let figure = |of: fn(&super::state::RuleStats) -> u64| average(more(of), cycles);
    let base_times = was.map(|was| &was.process_time);
    let time = |share: f64| microseconds(now.process_time.quantile(base_times, share));
    let failures = rule.failures().saturating_sub(base.map_or(0, Rule::failures));
    let style = match rule.state() {
        "running" => GOOD,
        "halted" => BAD,
        _ => WARN,
    };
    let mut cells = vec![
        Cell::from(format!(" {}", tame(&rule.name, TEXT))),
        right_styled(tame(rule.state(), 20), style),
        right(figure(|stats| stats.process_time.calls)),
        right(time(0.5)),
        right(time(0.99)),
        right(figure(|stats| stats.points_in)),
        right(figure(|stats| stats.points_dropped)),
        right(figure(|stats| stats.points_added)),
        trouble_count(failures, average(failures, cycles)),
        right(bytes(rule.memory_bytes)),
    ];
    if wide {
        cells.push(right(figure(|stats| stats.relabelled)));
        cells.push(right(tame(&rule.version, TEXT)));
    }
    Row::new(cells)
}

fn draw_sinks(view: &View, now: &Status, area: Rect, out: &mut Buffer) {
    let shown = usize::from(area.height.saturating_sub(1));
    let title = heading(view, "SINKS", None, 0, shown, now.sinks.len());
    let widths = widths(area, &[7, 8, 8, 7, 7], LEAST_ERROR);
    let rows = now.sinks.iter().take(shown).map(|sink| sink_row(view, sink));
    let columns = ["STATE", "WRITTEN", "QUEUED", "", "DROPPED", ""];
    Table::new(rows, widths).header(titles(title, &columns)).render(area, out);
}

fn sink_row(view: &View, sink: &Sink) -> Row<'static> {
    let cycles = view.cycles();
    let base = view.base.as_ref().filter(|_| cycles.is_some());
    let base = base.and_then(|base| base.sinks.iter().find(|was| was.sink == sink.sink));
    let more = |of: fn(&Sink) -> u64| of(sink).saturating_sub(base.map_or(0, of));
    let (state, style) = if sink.failing { ("failing", BAD) } else { ("ok", GOOD) };
    let error = sink.last_error.as_ref().filter(|_| sink.failing).map_or("", |error| &error.message);
    Row::new([
        Cell::from(format!(" {}", tame(&sink.sink, TEXT))),
        right_styled(state, style),
        right(average(more(|sink| sink.written), cycles)),
        right(count(sink.queued)),
        right_styled(bytes(sink.queued_bytes), DIM),
        trouble_count(more(Sink::dropped), average(more(Sink::dropped), cycles)),
        Cell::from(Span::styled(tame(error, TEXT), BAD)),
    ])
}

fn draw_nodes(view: &View, now: &Status, area: Rect, out: &mut Buffer) {
    let shown = usize::from(area.height.saturating_sub(1));
    let title = heading(view, "NODES", Some(Part::Nodes), view.first_node, shown, now.nodes.len());
    let widths = widths(area, &[12, 7, 7, 7, 7], LEAST_ERROR);
    let rows = now.nodes.iter().skip(view.first_node).take(shown).map(node_row);
    let columns = ["STATE", "TOOK", "SIZE", "POINTS", "FAILED", ""];
    Table::new(rows, widths).header(titles(title, &columns)).render(area, out);
}

fn node_row(node: &Node) -> Row<'static> {
    let failed = node.error.is_some();
    let style = if failed { BAD } else { GOOD };
    let cycles = if node.failed_cycles > 0 { count(node.failed_cycles) } else { String::new() };
    Row::new([
        Cell::from(format!(" {}", tame(&node.name, TEXT))),
        right_styled(tame(&node.state, 40), style),
        right(microseconds(Some(node.took_ms * 1e3))),
        right(bytes(node.bytes)),
        right(count(node.points)),
        right_styled(cycles, style),
        Cell::from(Span::styled(tame(node.error.as_deref().unwrap_or_default(), TEXT), style)),
    ])
}
