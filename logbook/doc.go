// Package logbook is one account's logs. When an epoch has closed it derives
// what this node claims, pays for and was paid (package lines), writes one file
// a role with its header, and only then commits the root over the headers in a
// kind 11 (ST1, ST2). It never makes two headers for one epoch (K2): what is
// written is what is committed, also after a crash or a reorganisation. A node that
// slept over the time for an epoch's logs commits its receipts in one of the next
// four epochs, and says which were too late even for that.
//
// Logs stay for eight epochs, for whoever may read them. Run is one loop; all
// other methods may be called at once from many goroutines.
package logbook
