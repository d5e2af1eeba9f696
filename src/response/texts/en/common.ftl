### What stands on more than one page.
### A message whose name ends in -html may hold <strong> and <bdi>; what is put into it is escaped.

error-title = Error: { $title }
languages = Language
status = Status
request-id = Request id

username = Username
username-or-email = Username or email
password = Password
show = Show
show-password = Show password
hide = Hide
hide-password = Hide password
caps-lock = Caps Lock is on.

sign-in = Sign in
sign-in-as-other = Sign in as somebody else
go-to-login = Go to the login page
go-to-start = Go to the start page
try-again = Try again
confirm-password = Confirm your password

form-stale = This page was open for a while. Please enter your password once more.
form-stale-confirm = This page was open for a while. Please confirm once more.
too-many-attempts = Too many failed attempts. Please try again { $wait }.

in-seconds = { $count ->
    [one] in { $count } second
   *[other] in { $count } seconds
}
in-minutes = { $count ->
    [one] in { $count } minute
   *[other] in { $count } minutes
}
in-hours = { $count ->
    [one] in { $count } hour
   *[other] in { $count } hours
}
lasting-minutes = { $count ->
    [one] { $count } minute
   *[other] { $count } minutes
}
lasting-hours = { $count ->
    [one] { $count } hour
   *[other] { $count } hours
}
lasting-days = { $count ->
    [one] { $count } day
   *[other] { $count } days
}

ago-now = just now
ago-minutes = { $count ->
    [one] { $count } minute ago
   *[other] { $count } minutes ago
}
ago-hours = { $count ->
    [one] { $count } hour ago
   *[other] { $count } hours ago
}
ago-days = { $count ->
    [one] { $count } day ago
   *[other] { $count } days ago
}

password-guessable = This password is too easy to guess.
password-too-long = Use at most { $count } characters.
password-too-short = Use at least { $count } characters.
password-control = Control characters can’t be part of a password.
password-because = { $sentence } { $reason }
password-common = It is, or is nearly, one that many people use.
password-date = Dates and years are among the first that are tried.
password-keyboard = Rows of keys are among the first that are tried.
password-name = Names are among the first that are tried.
password-personal = Your own names and this site’s are among the first that are tried.
password-repeat = Repeating makes it hardly any harder.
password-sequence = Sequences like abc or 6543 are among the first that are tried.
password-word = A single word is among the first that are tried.
strength = Strength: { $word }.
strength-refused = Strength: { $word }, too easy to guess.
strength-very-weak = very weak
strength-weak = weak
strength-fair = fair
strength-good = good
strength-strong = strong
