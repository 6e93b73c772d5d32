// Package arch holds the laws of the source tree as code, and its tests apply
// them to the tree that they stand in:
//
//   - the import table (table.go): which package may use which, and which
//     modules of others; a package that is not in the table is refused;
//   - purity: pure packages import nothing that waits, and in them there is no
//     goroutine, no floating point and no map order;
//   - limits: 70 lines a function, 600 lines a file;
//   - named rules (rules.txt): each rule of the protocol has a test that
//     carries its name.
//
// It uses the standard library only, so that it keeps working whatever happens
// to the rest. Test files are free of the first three.
package arch
