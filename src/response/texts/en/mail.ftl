### Mails. A subject is the heading, too. Texts stand in HTML and in plain text, so that none holds markup.

mail-hello = Hello { $name },
mail-hello-nobody = Hello,
mail-by-hand = If a button does not work, copy its address into your browser:
mail-ignore = If you did not ask for this, you can ignore this mail.
mail-footer = This mail was sent automatically by { $site }.

mail-sign-in = Sign in
mail-set-password = Set a new password
mail-confirm = Confirm the address
mail-accept = Accept the invitation

mail-deleted-subject = Your account at { $site } is deleted
mail-deleted-what = Your account { $username } at { $site } was just deleted from its own page, with its password. Everything that belonged to it here is gone.
mail-deleted-else = If you did not do this, tell the people who run the site at once.

mail-address-taken-subject = You already have an account at { $site }
mail-address-taken-what = Somebody, perhaps you, wanted to use this address for another account at { $site }. It belongs to your account { $username }, and stays there.
mail-address-taken-next = Sign in with your username and your password. If you have forgotten the password, you can set a new one.
mail-address-taken-else = If it was not you, there is nothing to do: nobody was told that you have an account.

mail-address-changed-subject = Your email address at { $site } was changed
mail-address-changed-what = The email address of your account { $username } at { $site } is now { $address }. Mails about your account go there from now on, and no longer to this address.
mail-address-changed-else = If you did not do this, somebody else has access to your account: tell the people who run the site at once.

mail-address-changing-subject = Your email address at { $site } is about to change
mail-address-changing-what = Somebody who is signed in as { $username } at { $site } wants to change the email address of the account to { $address }. It changes as soon as the new address is confirmed.
mail-address-changing-else = If you did not do this, somebody else has access to your account: change your password at once.

mail-already-member-subject = You already have an account at { $site }
mail-already-member-what = { $inviter } wanted to invite you to { $site }. This address belongs to your account { $username } there, so you need no invitation.
mail-already-member-else = Nobody was told that you have an account.

mail-approved-subject = Your account at { $site } is ready
mail-approved-what = Your account { $username } at { $site } was approved. You can sign in now.

mail-confirm-subject = Confirm your email address for { $site }
mail-confirm-what = Thank you for registering at { $site }. Please confirm that this address is yours. Then you can sign in as { $username }.

mail-confirm-new-subject = Confirm your new email address for { $site }
mail-confirm-new-what = Please confirm that this is the new email address of your account { $username } at { $site }. Until then the old one holds.

mail-invitation-subject = You are invited to { $site }
mail-invitation-what = You are invited to { $site }. Choose a username and a password to make your account.
mail-invitation-from = { $inviter } invites you to { $site }. Choose a username and a password to make your account.
mail-invitation-once = The link is for you alone, and works once.
mail-invitation-else = If you did not expect this, you can ignore this mail.

mail-password-subject = Your password at { $site } was changed
mail-password-what = The password of your account { $username } at { $site } was just changed. If it was you, there is nothing to do.
mail-password-else = If it was not you, set a new password at once, and tell the people who run the site.

mail-reset-subject = Set a new password for { $site }
mail-reset-what = Somebody, hopefully you, asked for a new password for your account { $username } at { $site }. The link works once and is good for { $lasting }.
mail-reset-else = If it was not you, you can ignore this mail: your password stays as it is.

mail-test-subject = Test mail from { $site }
mail-test-what = If you can read this, { $site } can send you mail.
