"""Everything people can do with credits, at random, several at once, while real workers run and are killed.

Hypothesis draws what happens (`rules`): people do their `acts` in the `office`, against a private stack of processes
(`generations.drill`), every act twice at the same time, as a doubled click would, and up to four beside each other.
`paper` notes what they were told, and nothing else. `play` is the process that does it all; when it is quiet, `proof`
compares paper, books, stored clips and the sandbox's own bill.
"""
