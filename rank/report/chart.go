package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A chart's lines lie in a square of side units that the page stretches over the plot.
const side = 1000

// Most points of a line, and most parts that show values when pointed at.
const (
	maxPoints = 600
	maxBands  = 120
)

// point is a value at a step; y may be NaN, which leaves a gap.
type point struct{ x, y float64 }

// series is one line of a chart.
type series struct {
	name   string
	class  string // style: s0, s1 and so on; raw for a pale one
	points []point
	dots   bool
}

// chart is a chart as the template shows it. Shares are percent of the plot's width or height, from the lower left.
type chart struct {
	Title, Unit string
	Last        string // the newest value, in words
	Empty       string // why there is nothing to show
	Legend      []legend
	X, Y        []tick
	Lines       []line
	Bands       []band
}

type legend struct{ Class, Name string }

type tick struct {
	Percent float64
	Label   string
}

// line is an SVG path.
type line struct{ Class, Path string }

// band is a part of the plot that shows values when pointed at, in units of side.
type band struct {
	X, Width float64
	Title    string
}

// newChart draws series over steps; with zero the value axis begins at 0.
func newChart(title, unit string, zero bool, list ...series) chart {
	c := chart{Title: title, Unit: unit}
	xs, ys := bounds(list)
	if xs[0] > xs[1] {
		c.Empty = "not recorded"
		return c
	}
	if zero {
		ys[0] = math.Min(ys[0], 0)
	}
	x, y := newAxis(xs[0], xs[1], 4, false), newAxis(ys[0], ys[1], 4, true)
	for _, v := range x.ticks {
		if v == math.Trunc(v) { // there is no half step
			c.X = append(c.X, tick{round(100 * x.at(v)), label(v)})
		}
	}
	for _, v := range y.ticks {
		c.Y = append(c.Y, tick{round(100 * y.at(v)), label(v)})
	}
	for _, s := range list {
		if len(list) > 1 {
			c.Legend = append(c.Legend, legend{s.class, s.name})
		}
		c.Lines = append(c.Lines, line{s.class, path(thin(s.points), x, y)})
		if s.dots {
			c.Lines = append(c.Lines, line{s.class + " dots", dots(thin(s.points), x, y)})
		}
	}
	c.Bands = bands(list, x)
	c.Last = lastOf(list)
	return c
}

// bounds are the least and the largest x and y of points that can be drawn; least above largest if there are none.
func bounds(list []series) (x, y [2]float64) {
	x, y = [2]float64{math.Inf(1), math.Inf(-1)}, [2]float64{math.Inf(1), math.Inf(-1)}
	for _, s := range list {
		for _, p := range s.points {
			if finite(p.y) {
				x[0], x[1] = math.Min(x[0], p.x), math.Max(x[1], p.x)
				y[0], y[1] = math.Min(y[0], p.y), math.Max(y[1], p.y)
			}
		}
	}
	return x, y
}

// finite tells whether a value can be drawn; those near the largest float overflow on an axis.
func finite(v float64) bool { return math.Abs(v) <= 1e300 }

// thin keeps at most maxPoints points: of each stretch the least and the largest, so that no spike is lost.
func thin(points []point) []point {
	if len(points) <= maxPoints {
		return points
	}
	var out []point
	const stretches = maxPoints / 2
	for i := range stretches {
		part := points[i*len(points)/stretches : (i+1)*len(points)/stretches]
		low, high := part[0], part[0]
		for _, p := range part {
			if p.y < low.y || !finite(low.y) {
				low = p
			}
			if p.y > high.y || !finite(high.y) {
				high = p
			}
		}
		if low.x > high.x {
			low, high = high, low
		}
		out = append(out, low, high)
	}
	return out
}

// path joins points, with a gap where there is no value.
func path(points []point, x, y axis) string {
	var b strings.Builder
	pen := "M"
	for _, p := range points {
		if !finite(p.y) {
			pen = "M"
			continue
		}
		b.WriteString(pen + place(p, x, y))
		pen = "L"
	}
	return b.String()
}

// dots are strokes without length, whose round ends are dots of the stroke's width.
func dots(points []point, x, y axis) string {
	var b strings.Builder
	for _, p := range points {
		if finite(p.y) {
			b.WriteString("M" + place(p, x, y) + "h0")
		}
	}
	return b.String()
}

// place writes where a point lies; SVG counts from the top.
func place(p point, x, y axis) string {
	return decimal(side*x.at(p.x)) + " " + decimal(side-side*y.at(p.y))
}

func decimal(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }

// round keeps one decimal.
func round(v float64) float64 { return math.Round(10*v) / 10 }

// bands divide the plot among steps, or stretches of steps, and tell the values there.
func bands(list []series, x axis) []band {
	longest := list[0].points
	for _, s := range list {
		if len(s.points) > len(longest) {
			longest = s.points
		}
	}
	n := min(maxBands, len(longest))
	var out []band
	left := 0.0
	for i := range n {
		p := longest[i*len(longest)/n]
		right := float64(side)
		if i+1 < n {
			right = side * x.at((p.x+longest[(i+1)*len(longest)/n].x)/2)
		}
		title := fmt.Sprintf("step %.0f", p.x)
		for _, s := range list {
			if v, ok := valueAt(s.points, p.x); ok {
				title += fmt.Sprintf("\n%s %s", s.name, value(v))
			}
		}
		out = append(out, band{round(left), round(right - left), title})
		left = right
	}
	return out
}

// valueAt finds the value at a step; points are in order of steps.
func valueAt(points []point, x float64) (float64, bool) {
	lo, hi := 0, len(points)
	for lo < hi {
		if mid := (lo + hi) / 2; points[mid].x < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(points) || points[lo].x != x {
		return 0, false
	}
	return points[lo].y, true
}

// lastOf is the newest value as it was recorded; several sets have none in common.
func lastOf(list []series) string {
	points := list[0].points
	if len(list) > 1 && list[0].class != "raw" || len(points) == 0 {
		return ""
	}
	return value(points[len(points)-1].y)
}

// value writes a number with the digits that people compare.
func value(v float64) string {
	if math.IsNaN(v) {
		return "not finite"
	}
	if math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// smooth is the average of late values that forgets older ones, over about a fiftieth of the points; values that are
// not finite are passed over. nil = there are too few to smooth.
func smooth(points []point) []point {
	const fewest = 20
	if len(points) < fewest {
		return nil
	}
	keep := 1 - 1/math.Max(2, float64(len(points))/50)
	out := make([]point, 0, len(points))
	sum, weight := 0.0, 0.0
	for _, p := range points {
		if finite(p.y) {
			sum, weight = keep*sum+p.y, keep*weight+1
		}
		if weight > 0 {
			out = append(out, point{p.x, sum / weight})
		}
	}
	return out
}

// FromTop is the tick's place in units of side, counted from the top.
func (t tick) FromTop() float64 { return round(side - side*t.Percent/100) }
