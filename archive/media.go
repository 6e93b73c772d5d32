package archive

import (
	"bytes"
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/staddle/staddle/types"
)

// mediaRow ties a media type to the endings of names that mean it. The table is
// ours: the one of the system differs between machines.
type mediaRow struct {
	name    string
	endings string // lower case, each between spaces
}

// mediaTable is part of the packer: rows are only added, at the end.
var mediaTable = [...]mediaRow{
	{"application/octet-stream", ""},
	{"text/plain", " txt text log conf ini "},
	{"text/markdown", " md markdown "},
	{"text/html", " html htm "},
	{"text/css", " css "},
	{"text/csv", " csv "},
	{"text/javascript", " js mjs "},
	{"application/json", " json "},
	{"application/jsonl", " jsonl ndjson "},
	{"application/xml", " xml "},
	{"application/yaml", " yaml yml "},
	{"application/toml", " toml "},
	{"application/pdf", " pdf "},
	{"application/epub+zip", " epub "},
	{"application/rtf", " rtf "},
	{"application/msword", " doc "},
	{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", " docx "},
	{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", " xlsx "},
	{"application/vnd.openxmlformats-officedocument.presentationml.presentation", " pptx "},
	{"application/vnd.oasis.opendocument.text", " odt "},
	{"application/vnd.oasis.opendocument.spreadsheet", " ods "},
	{"image/jpeg", " jpg jpeg "},
	{"image/png", " png "},
	{"image/gif", " gif "},
	{"image/webp", " webp "},
	{"image/avif", " avif "},
	{"image/heic", " heic "},
	{"image/tiff", " tif tiff "},
	{"image/svg+xml", " svg "},
	{"image/bmp", " bmp "},
	{"image/x-raw", " dng cr2 cr3 nef arw orf rw2 raf "},
	{"audio/mpeg", " mp3 "},
	{"audio/flac", " flac "},
	{"audio/ogg", " ogg oga opus "},
	{"audio/mp4", " m4a m4b "},
	{"audio/wav", " wav "},
	{"video/mp4", " mp4 m4v "},
	{"video/x-matroska", " mkv "},
	{"video/webm", " webm "},
	{"video/quicktime", " mov "},
	{"video/x-msvideo", " avi "},
	{"video/mpeg", " mpg mpeg vob "},
	{"video/mp2t", " m2ts "},
	{"application/zip", " zip "},
	{"application/gzip", " gz tgz "},
	{"application/x-tar", " tar "},
	{"application/zstd", " zst "},
	{"application/x-bzip2", " bz2 "},
	{"application/x-xz", " xz "},
	{"application/x-7z-compressed", " 7z "},
	{"application/vnd.rar", " rar "},
	{"application/vnd.sqlite3", " sqlite sqlite3 "},
	{"application/vnd.apache.parquet", " parquet "},
	{"application/x-hdf5", " h5 hdf5 "},
	{"application/x-netcdf", " nc "},
	{"application/fits", " fits fit "},
	{"application/wasm", " wasm "},
	{"application/x-iso9660-image", " iso "},
	{"text/x-go", " go "},
	{"text/x-c", " c h "},
	{"text/x-c++", " cc cpp cxx hh hpp "},
	{"text/x-python", " py "},
	{"text/x-rust", " rs "},
	{"text/x-java", " java "},
	{"text/x-typescript", " tsx "},
	{"text/x-shellscript", " sh "},
	{"text/x-tex", " tex bib "},
	{"font/ttf", " ttf "},
	{"font/woff2", " woff2 "},
}

// magic rows name a type by the first bytes of a file whose name says nothing.
var magic = [...]struct{ name, start string }{
	{"image/jpeg", "\xff\xd8\xff"},
	{"image/png", "\x89PNG\r\n\x1a\n"},
	{"image/gif", "GIF8"},
	{"application/pdf", "%PDF-"},
	{"application/zip", "PK\x03\x04"},
	{"application/gzip", "\x1f\x8b\x08"},
	{"application/zstd", "\x28\xb5\x2f\xfd"},
	{"application/x-xz", "\xfd7zXZ\x00"},
	{"application/x-7z-compressed", "7z\xbc\xaf\x27\x1c"},
	{"audio/flac", "fLaC"},
	{"audio/ogg", "OggS"},
	{"audio/mpeg", "ID3"},
	{"video/x-matroska", "\x1a\x45\xdf\xa3"},
	{"application/vnd.sqlite3", "SQLite format 3\x00"},
	{"application/wasm", "\x00asm"},
}

// mediaIndex is the row of a file by its name, else by its first bytes.
func mediaIndex(name string, start []byte) int {
	if ending := path.Ext(name); len(ending) > 1 && !strings.Contains(ending, " ") {
		want := " " + strings.ToLower(ending[1:]) + " "
		for i := range mediaTable {
			if strings.Contains(mediaTable[i].endings, want) {
				return i
			}
		}
	}
	for _, m := range magic {
		if bytes.HasPrefix(start, []byte(m.start)) {
			return rowOf(m.name)
		}
	}
	return 0
}

func rowOf(name string) int {
	return max(0, slices.IndexFunc(mediaTable[:], func(r mediaRow) bool { return r.name == name }))
}

// mediaCount adds up file bytes for each row of the table.
type mediaCount [len(mediaTable)]uint64

// top names the types with the most bytes, at most as many as an attachment
// holds, the largest first. Files of no known type count only when there is
// nothing else.
func (m *mediaCount) top() (names []string) {
	var rows []int
	for i, n := range m {
		if n > 0 && i > 0 {
			rows = append(rows, i)
		}
	}
	slices.SortFunc(rows, func(a, b int) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	for _, i := range rows[:min(len(rows), types.MaxMediaTypes)] {
		names = append(names, mediaTable[i].name)
	}
	if names == nil && m[0] > 0 {
		names = []string{mediaTable[0].name}
	}
	return names
}
