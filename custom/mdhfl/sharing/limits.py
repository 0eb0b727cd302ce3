"""How much a message may say: what is beyond is refused, whoever says it. docs/messages.md has the table, with reasons.

Each limit lies far from what an honest site or server sends, and near enough that sums stay finite.
"""

LARGEST_LOGIT = 100.0  # of a shared score; a softmax cannot tell 100 from infinity. A site clips its own to it
LARGEST_WEIGHT = 1e6  # of an entry of a shared or merged model, running statistics included
LONGEST_VECTOR = 10.0  # times the lower median length of its layout's: as long as a model counts in a mean
LARGEST_LOSS = 1e9
LARGEST_CONFIDENCE = 1e6
LARGEST_SHARE = 1e6  # of a site, in a sum of knowledge
LONGEST_PHASE = 1e8  # seconds, three years
MOST_BYTES = 10**15
MOST_IMAGES = 10**9  # of a part of a site's data
MOST_ENTRIES = 10**12  # of a network
