package jupyter

import (
	"html"
	"regexp"
	"strings"
)

var (
	htmlUnseen = regexp.MustCompile(`(?is)<!--.*?-->|<(style|script|head)\b.*?</(style|script|head)\s*>`)
	htmlCell   = regexp.MustCompile(`(?i)</t[dh]\s*>`)
	htmlLine   = regexp.MustCompile(`(?i)<br\b[^>]*>|</?(p|div|tr|table|ul|ol|li|h[1-6]|pre|blockquote|section|caption|dt|dd)\b[^>]*>`)
	htmlTag    = regexp.MustCompile(`(?s)</?[a-zA-Z!][^>]*>`)
)

// htmlText is what a page says: cells of tables apart, a line for each block.
func htmlText(page string) string {
	page = htmlUnseen.ReplaceAllString(page, "")
	page = strings.Join(strings.Fields(page), " ")
	page = htmlCell.ReplaceAllString(page, "\t")
	page = htmlLine.ReplaceAllString(page, "\n")
	page = html.UnescapeString(htmlTag.ReplaceAllString(page, ""))
	var lines []string
	for line := range strings.Lines(page) {
		var cells []string
		for cell := range strings.SplitSeq(line, "\t") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		if line = strings.TrimRight(strings.Join(cells, "\t"), "\t "); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
