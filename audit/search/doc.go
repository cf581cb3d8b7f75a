// Package search answers questions to the audit log, and records each of them
// there before it answers: who may ask what, the approval that looking for a
// person needs, one request's path through the logs of several nodes, and what
// a resident may know of the use of their own data.
//
//   - An auditor searches by codes: time, department, operator, matter, proof,
//     case, exchange, document, outcome, operation ([Service.Search]).
//   - Looking for a person needs an application with a case and a reason that
//     two other persons approve, each by a signature of their own. It yields a
//     ticket for a quarter of an hour ([Service.Apply], [Service.Decide],
//     [Service.Issue]). The ID number is in the body of one request, and in
//     memory while that is answered; what is kept are pseudonyms. All gateways on
//     the roster take the application and answer for the ticket, each by what
//     persons have signed ([Service.TakeApplication], [Service.AnswerPersons]).
//   - The path of one exchange is gathered from every log on a signed roster
//     ([Service.Path]); a log that did not answer is named.
//   - A resident sees the open halves of the entries about them, unless the law
//     withholds one or its time has not come, from every gateway on the roster
//     ([Service.FindUsage]); their card read, not their number, is what the others
//     are told of.
//
// Every entry that is shown was read from its log again and hashed; the index
// only says where to look. Answers name what they do not cover: a search is
// whole only if nothing is in Missing.
//
// Tickets, statements and the roster are specified, with vectors, in
// docs/protocol/audit-search.md.
package search
