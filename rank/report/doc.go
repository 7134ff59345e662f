// Package report shows a run as one page of HTML: curves, samples before and after, what ran where, and the recipe. The
// page needs nothing but itself: no script, no other file, no network.
//
// It reads what package metrics wrote into the run's folder, which may come from anybody: sizes are bounded, and all of
// it is escaped. The charts are SVG that stretches with the page while lines and dots keep their width; the text around
// them is HTML, so that it is readable at any width.
//
// The trainer calls Write at the end of a run, `gorun report` at any time.
package report
