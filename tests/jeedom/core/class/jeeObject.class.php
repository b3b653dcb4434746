<?php

/** Rooms; the tests have none. */
class jeeObject
{
    public static function byId($_id)
    {
    }

    /** @return jeeObject[] */
    public static function buildTree($_object = null, $_visible = true)
    {
        return [];
    }

    public function getId()
    {
        return 0;
    }

    public function getName()
    {
        return '';
    }

    public function getConfiguration($_key = '', $_default = '')
    {
        return $_default;
    }
}
