//! Draws what was measured as an SVG file: medians, with bars from minimum to maximum.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

/// One half of the picture.
pub struct Panel<'p> {
    /// What was measured, with its unit.
    pub title: &'static str,
    /// What it was measured by.
    pub axis: &'static str,
    /// Size, and minimum, median and maximum there.
    pub points: &'p [(usize, [f64; 3])],
}

/// Draws two panels side by side. Sizes stand on a logarithmic axis, costs on one from 0.
pub fn draw(file: &Path, panels: [&Panel<'_>; 2]) -> anyhow::Result<()> {
    let picture = SVGBackend::new(file, (900, 340)).into_drawing_area();
    picture.fill(&WHITE)?;
    for (area, panel) in picture.split_evenly((1, 2)).iter().zip(panels) {
        panel.draw(area).map_err(|error| anyhow!("{error}"))?;
    }
    picture.present()?;
    Ok(())
}

impl Panel<'_> {
    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error + '_>> {
        let sizes = self.points.iter().map(|&(size, _)| size as f64);
        let (least, most) = sizes.fold((f64::MAX, 0.0_f64), |(least, most), size| (least.min(size), most.max(size)));
        let top = self.points.iter().map(|&(_, [_, _, max])| max).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(14)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d((least * 0.8..most * 1.25).log_scale(), 0.0..top * 1.25)?;
        let ticks: Vec<f64> = self.points.iter().map(|&(size, _)| size as f64).collect();
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.axis)
            .x_labels(ticks.len() * 3)
            .x_label_formatter(&|size| format!("{size:.0}"))
            .y_label_formatter(&|cost| if top < 10.0 { format!("{cost:.1}") } else { format!("{cost:.0}") })
            .draw()?;
        let medians = self.points.iter().map(|&(size, [_, median, _])| (size as f64, median));
        chart.draw_series(LineSeries::new(medians, BLUE.stroke_width(2)))?;
        chart.draw_series(self.points.iter().map(|&(size, [min, median, max])| {
            ErrorBar::new_vertical(size as f64, min, median, max, BLUE.filled(), 8)
        }))?;
        chart.draw_series(self.points.iter().map(|&(size, [_, median, max])| {
            let text = if top < 10.0 { format!("{median:.2}") } else { format!("{median:.1}") };
            let style = ("sans-serif", 12).into_font().color(&BLACK);
            Text::new(format!("{size}: {text}"), (size as f64 * 0.88, max + top * 0.06), style)
        }))?;
        Ok(())
    }
}
