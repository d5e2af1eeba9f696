### Setting a password by a link.

reset-heading = Choose a password
reset-who-html = for <strong>{ $username }</strong>
reset-password = New password
reset-hint = A few words in a row are easy to remember and hard to guess.
reset-again = Repeat the new password
reset-submit = Set password
reset-elsewhere = If you are signed in elsewhere, you will be signed out there.
reset-empty = Enter a password.
reset-differs = The two passwords are not the same. Please enter both once more.
reset-stale = This page was open for a while. Please enter the password once more.
reset-unavailable = The password can’t be set at the moment. Please try again in a few seconds.
reset-weak-title = Password too weak

link-incomplete = The link is not complete. Please copy all of it.
link-invalid-title = This link is not valid any more
link-invalid = It works once and for a limited time. Ask whoever sent it to you for a new one.
