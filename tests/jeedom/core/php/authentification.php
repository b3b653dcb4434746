<?php

// The real one has a session. Here the profile of the person comes in a header, which only the tests send.

$profile = $_SERVER['HTTP_X_TEST_PROFILE'] ?? '';
$_SESSION = $profile === '' ? [] : ['user' => new user($profile)];
